import Foundation
package import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

/// API keys of Momento's second generation: valid in every region, with the rights of a role, listed and revoked at once.
///
/// Source: https://docs.momentohq.com/platform/authentication/api-keys-http-api. Every key carries its lineage as its
/// description, so that one whose answer was lost is found and revoked; its text is shown that once.
package struct MomentoIssuer: Issuer {
    package let traits: IssuerTraits = Self.description.traits

    let api: MomentoKeysAPI
    /// The host of the cell that consumers speak to.
    let endpoint: String
    private let probe: MomentoCacheProbe
    private let cacheAddress: String
    private let time: any Timekeeper

    /// How long after the call a key that is not listed is still waited for, in seconds: Momento does not say how soon a
    /// new one is.
    private static let listingPatience = 15.0

    init(_ parameters: Parameters, _ services: SystemServices) throws(SystemError) {
        guard let apiKey = parameters.secret("apiKey") else {
            throw SystemError(.misconfigured, "Momento's issuer has no `apiKey`")
        }
        let connection = MomentoConnection(parameters, services)
        endpoint = parameters.string("endpoint") ?? ""
        api = MomentoKeysAPI(
            services: services, address: RequestAddress.base(parameters.string("address") ?? Self.usualAddress),
            tls: connection.tls, timeout: connection.timeout, apiKey: apiKey, pace: connection.pace)
        probe = connection.probe
        cacheAddress = connection.cacheAddress(of: endpoint)
        time = services.time
    }

    static let usualAddress = "https://mga.registry.prod.a.momentohq.com"

    package func prepare(_ request: IssueRequest) async throws(SystemError) -> IssuePreparation {
        IssuePreparation(notes: ["description": request.lineage.description])
    }

    package func issue(
        _ request: IssueRequest, prepared: IssuePreparation
    ) async throws(SystemError) -> IssuedKey {
        let expiry = request.lifetime.map { Int64(request.intendedAt.timeIntervalSince1970) + $0 }
        let created = try await api.create(
            role: request.parameters.string("role") ?? "", description: request.lineage.description, expiry: expiry)
        let text = SecretValue(utf8: created.apiKey)
        return IssuedKey(
            material: material(text, endpoint: endpoint), keyID: created.info.id,
            issuedAt: created.info.issuedAt.flatMap(MomentoKey.date) ?? request.intendedAt,
            expiresAt: created.info.expiresAt.flatMap(MomentoKey.date) ?? expiry.flatMap { MomentoKey.date(Double($0)) }
        )
    }

    package func resolve(
        _ request: IssueRequest, prepared: IssuePreparation
    ) async throws(SystemError) -> IssueResolution {
        let mark = prepared.notes["description"] ?? request.lineage.description
        let ours = try await api.list().filter { $0.description == mark }
        guard ours.isEmpty else { return .orphaned(keyIDs: ours.map(\.id)) }
        return request.waited < Self.listingPatience ? .undecided(retryAfter: 5) : .neverMade
    }

    package func check(_ key: KeyHandle) async throws(SystemError) -> KeyCheck {
        guard let text = key.material?.value, let subject = MomentoCacheProbe.subject(key.parameters) else {
            return .cannotTell
        }
        return try await probe.check(subject, at: cacheAddress, with: MomentoKey(text)?.bearer ?? text)
    }

    package func revoke(_ key: KeyHandle) async throws(SystemError) {
        guard let id = try await identifier(of: key) else { return }
        do throws(SystemError) { try await api.revoke(id) } catch {
            guard error.code != .notFound else { return }
            throw error
        }
    }

    /// What the account's list calls the key; `nil` when the key is dead already.
    ///
    /// One that was adopted without its id may be on the list under the name that it has for itself. Anything less than
    /// that name could be another's key.
    private func identifier(of key: KeyHandle) async throws(SystemError) -> String? {
        if let id = key.keyID { return id }
        let own = key.material.flatMap { MomentoKey($0.value) }
        if let name = own?.identifier, try await api.list().contains(where: { $0.id == name }) { return name }
        if let end = own?.expiresAt, end <= time.now() { return nil }
        if case .notYet = try await check(key) { return nil }
        throw SystemError(
            .local, "the id of the key at Momento is not known",
            advice:
                "revoke the key in Momento's console when its grace is over; what the policy's `check` reads shows that it is gone"
        )
    }

    package func probe(_ parameters: Parameters) async throws(SystemError) { try await api.probe() }

    func material(_ text: SecretValue, endpoint: String) -> KeyMaterial {
        KeyMaterial(value: text, fields: ["endpoint": SecretValue(utf8: endpoint)])
    }
}
