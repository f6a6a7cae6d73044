import Foundation
package import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

/// Keys of Google Cloud service accounts, which Google makes and hands out once, as a JSON file.
///
/// An account has ten keys at most. Keys carry no marks, so after a lost answer the list from before the call tells
/// which key is new. Google tells no last use of a key by this API. A deleted or disabled key makes no more access
/// tokens; those that it made are valid for their hour. See https://cloud.google.com/iam/docs/keys-create-delete
package struct GCPServiceAccountKeyIssuer: DisablesKeys, ListsKeys {
    package let traits: IssuerTraits = Self.description.traits

    private let api: ServiceAccountKeysAPI
    /// How long after the call a key that does not show up is still waited for, in seconds.
    private let listingDelay: Int
    private let time: any Timekeeper

    private static let mostKeys = 10
    /// How far Google's clock and ours may differ, in seconds.
    private static let skew = 300.0
    /// A key without an end is said to be valid until the end of the year 9999.
    private static let endless = Date(timeIntervalSince1970: 253_370_764_800)

    init(_ parameters: Parameters, _ services: SystemServices) {
        api = ServiceAccountKeysAPI(parameters, services)
        listingDelay = parameters.seconds("listingDelay") ?? 120
        time = services.time
    }

    package func prepare(_ request: IssueRequest) async throws(SystemError) -> IssuePreparation {
        let existing = try await api.keys(of: account(request.parameters)).map(\.id)
        guard existing.count < Self.mostKeys else {
            let others = existing.filter { !request.knownKeyIDs.contains($0) }
            throw SystemError(
                .limitExceeded,
                "\(account(request.parameters)) already has \(existing.count) keys, "
                    + "\(others.count) of them not Keyturn's for this secret",
                advice: "delete some that are not used; Keyturn deletes only its own")
        }
        return IssuePreparation(notes: ["existing": existing.joined(separator: " ")])
    }

    package func issue(
        _ request: IssueRequest, prepared: IssuePreparation
    ) async throws(SystemError) -> IssuedKey {
        let made = try await api.create(for: account(request.parameters))
        guard let data = made.privateKeyData, let key = try? ServiceAccountKey(SecretValue(data)), key.keyID == made.id
        else { throw SystemError(.badAnswer, "\(api.name) answered without a key", mayHaveTakenEffect: true) }
        let issuedAt = made.validAfterTime.flatMap(RFC3339.parse) ?? request.intendedAt
        let wanted = request.lifetime.map { issuedAt.addingTimeInterval(TimeInterval($0)) }
        // A policy of the organization may give keys an end.
        let granted = made.validBeforeTime.flatMap(RFC3339.parse).flatMap { $0 < Self.endless ? $0 : nil }
        return IssuedKey(
            material: Self.material(SecretValue(data), key), keyID: made.id, issuedAt: issuedAt,
            expiresAt: [wanted, granted].compactMap { $0 }.min())
    }

    static func material(_ file: SecretValue, _ key: ServiceAccountKey) -> KeyMaterial {
        KeyMaterial(
            value: file,
            fields: [
                "clientEmail": SecretValue(utf8: key.clientEmail), "privateKey": key.privateKey,
                "privateKeyId": SecretValue(utf8: key.keyID),
            ])
    }

    package func resolve(
        _ request: IssueRequest, prepared: IssuePreparation
    ) async throws(SystemError) -> IssueResolution {
        let before = Set((prepared.notes["existing"] ?? "").split(separator: " ").map(String.init))
        let fresh = try await keys(for: request.parameters).filter { key in
            !before.contains(key.keyID) && !request.knownKeyIDs.contains(key.keyID)
        }
        guard let found = fresh.first else {
            guard request.waited < Double(listingDelay) else { return .neverMade }
            return .undecided(retryAfter: min(10, max(1, Double(listingDelay) - request.waited)))
        }
        // A key made outside the time that our call can have taken is another's, whoever made it.
        let earliest = request.intendedAt.addingTimeInterval(-Self.skew)
        let latest = request.intendedAt.addingTimeInterval(Double(api.timeout) + Self.skew)
        guard fresh.count == 1, let createdAt = found.createdAt, createdAt >= earliest, createdAt <= latest else {
            let ids = fresh.map(\.keyID).joined(separator: ", ")
            return .ambiguous("\(account(request.parameters)) has keys that Keyturn does not know: \(ids)")
        }
        return .orphaned(keyIDs: [found.keyID])
    }

    /// Asks for a token with the key.
    package func check(_ key: KeyHandle) async throws(SystemError) -> KeyCheck {
        guard let file = key.material?.value, let own = try? ServiceAccountKey(file) else { return .cannotTell }
        guard case .refused = try await api.endpoint.logIn(own) else { return .works }
        // A new key is answered so for a minute and more, and a dead one for good: the list tells more.
        guard let listed = try await api.keys(of: account(key.parameters)).first(where: { $0.id == own.keyID }) else {
            return .notYet("Google does not accept the key (invalid_grant), and does not list it")
        }
        if listed.disabled == true {
            let isExposed = listed.disableReason == "SERVICE_ACCOUNT_KEY_DISABLE_REASON_EXPOSED"
            return .refused(isExposed ? "Google disabled the key, for it was found in public" : "the key is disabled")
        }
        if let end = listed.validBeforeTime.flatMap(RFC3339.parse), end <= time.now() {
            return .refused("the key has expired")
        }
        return .notYet("Google does not accept the key (invalid_grant)")
    }

    package func revoke(_ key: KeyHandle) async throws(SystemError) {
        let id = try id(key)
        guard try await !api.delete(id, of: account(key.parameters)) else { return }
        // A key that has not come yet to whom was asked is answered like one that is gone.
        let isThere: Bool
        do throws(SystemError) {
            isThere = try await api.keys(of: account(key.parameters)).contains { $0.id == id }
        } catch {
            // The account is gone, and its keys with it.
            guard error.code != .notFound else { return }
            throw error
        }
        guard isThere else { return }
        throw SystemError(.notYet, "\(api.name) lists key \(id) and does not delete it yet")
    }

    package func disable(_ key: KeyHandle) async throws(SystemError) {
        try await api.set(try id(key), of: account(key.parameters), isDisabled: true)
    }

    package func enable(_ key: KeyHandle) async throws(SystemError) {
        try await api.set(try id(key), of: account(key.parameters), isDisabled: false)
    }

    package func keys(for parameters: Parameters) async throws(SystemError) -> [ListedKey] {
        try await api.keys(of: account(parameters)).map { key in
            ListedKey(keyID: key.id, createdAt: key.validAfterTime.flatMap(RFC3339.parse), lineage: nil)
        }
    }

    package func probe(_ parameters: Parameters) async throws(SystemError) {
        _ = try await api.keys(of: account(parameters))
    }

    private func account(_ parameters: Parameters) -> String { parameters.string("account") ?? "" }

    private func id(_ key: KeyHandle) throws(SystemError) -> String {
        guard let id = key.keyID, !id.isEmpty else { throw SystemError(.local, "the key's id is not known") }
        return id
    }
}
