import Foundation
import KeyturnCore

extension Issuer {
    /// Until when a key is accepted though it was given up, because nothing but its expiry ends it: RFC 3339, or `never`;
    /// `nil` where revoking ends a key, and for one that is over.
    func outlives(_ version: VersionRecord, at now: Date) -> String? {
        guard traits.kind == .unlistable, !traits.revokes else { return nil }
        guard let end = version.expiresAt else { return "never" }
        return end > now ? end.formatted(.iso8601) : nil
    }
}

extension OrphanRecord {
    /// A key that was made and never served, and that no call ends.
    init(givenUp version: VersionRecord, of secret: SecretName, since: Date) {
        self.init(
            id: "given-up:\(secret):\(version.number)", secret: secret, version: version.number, issuer: version.issuer,
            keyID: version.keyID, issueParameters: version.issueParameters, state: .possible, since: since,
            until: version.expiresAt,
            detail: "it was given up before it served, and its issuer has no call that ends it")
    }
}
