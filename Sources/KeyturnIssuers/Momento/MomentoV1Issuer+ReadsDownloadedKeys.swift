package import Foundation
package import KeyturnCore

extension MomentoV1Issuer: ReadsDownloadedKeys {
    package func read(_ content: SecretValue, now: Date) throws(InvalidAdoptedKey) -> IssuedKey {
        let file = try MomentoConsoleFile(content, now: now)
        guard file.key.generation != .v2 else {
            throw InvalidAdoptedKey(
                reason: "the key is of Momento's second generation; its policy needs an issuer of type momento")
        }
        // What consumers are given says which cell it is of.
        var text = file.text
        if file.key.generation == .v1, file.key.endpoint == nil, let endpoint = file.endpoint,
            let key = file.key.bearer.exposedText()
        {
            text = MomentoKey.wrapped(key, endpoint: endpoint)
        }
        return IssuedKey(
            material: Self.material(
                text, apiKey: file.key.bearer, endpoint: file.endpoint, refreshToken: file.refreshToken),
            keyID: nil, issuedAt: file.key.issuedAt.flatMap { $0 <= now ? $0 : nil } ?? now, expiresAt: file.expiresAt)
    }
}
