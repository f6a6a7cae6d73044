import Foundation
package import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

/// API keys of Momento's first generation: of one cell, with their permissions inside, neither listed nor revoked.
///
/// Source: https://github.com/momentohq/client-protos, and Momento's clients for how a key is handed on. A key whose
/// answer was lost can't be found: it ends by itself, and until then it is reported.
package struct MomentoV1Issuer: Issuer {
    package let traits: IssuerTraits = Self.description.traits

    private let service: MomentoAuthService
    private let apiKey: SecretReference?
    private let address: String?
    private let connection: MomentoConnection
    private let secrets: any SecretResolver
    private let time: any Timekeeper

    /// How far Momento's clock and ours may differ, and a call may take, in seconds.
    private static let slack = 300.0

    private enum Note {
        /// `refresh`, or absent.
        static let renewal = "renewal"
        /// When a key dies whose answer is lost, in seconds since 1970.
        static let diesAt = "diesAt"
    }

    init(_ parameters: Parameters, _ services: SystemServices) {
        connection = MomentoConnection(parameters, services)
        service = MomentoAuthService(
            services: services, tls: connection.tls, timeout: connection.timeout, pace: connection.pace)
        apiKey = parameters.secret("apiKey")
        address = parameters.string("address").map(RequestAddress.base)
        secrets = services.secrets
        time = services.time
    }

    package func prepare(_ request: IssueRequest) async throws(SystemError) -> IssuePreparation {
        guard let (key, _) = refreshable(request) else {
            _ = try await callingKey(for: request)
            guard let lifetime = request.lifetime else { return IssuePreparation() }
            return IssuePreparation(notes: [Note.diesAt: Self.seconds(request.intendedAt, lifetime)])
        }
        var notes = [Note.renewal: "refresh"]
        // It lives as long as the one before did, counted anew.
        if let end = key.expiresAt {
            let begin = key.issuedAt ?? request.intendedAt
            let lifetime = max(Int64(end.timeIntervalSince(begin)), request.lifetime ?? 0)
            notes[Note.diesAt] = Self.seconds(request.intendedAt, lifetime)
        } else if let lifetime = request.lifetime {
            notes[Note.diesAt] = Self.seconds(request.intendedAt, lifetime)
        }
        return IssuePreparation(notes: notes)
    }

    package func issue(
        _ request: IssueRequest, prepared: IssuePreparation
    ) async throws(SystemError) -> IssuedKey {
        let response: MomentoWireKeyResponse
        if prepared.notes[Note.renewal] == "refresh" {
            guard let (key, token) = refreshable(request) else {
                throw SystemError(.local, "the key that was to be refreshed is not there any more")
            }
            response = try await service.refresh(key, with: token, at: try address(of: key))
        } else {
            let key = try await callingKey(for: request)
            response = try await service.generate(
                MomentoPermission.read(request.parameters).statements,
                lifetime: request.lifetime.map { UInt32(clamping: $0) }, description: request.lineage.description,
                as: key, at: try address(of: key))
        }
        return Self.key(response, request)
    }

    package func resolve(
        _ request: IssueRequest, prepared: IssuePreparation
    ) async throws(SystemError) -> IssueResolution {
        .unknowable(
            diesAt: prepared.notes[Note.diesAt].flatMap(Double.init).flatMap(MomentoKey.date)?
                .addingTimeInterval(Self.slack))
    }

    package func check(_ key: KeyHandle) async throws(SystemError) -> KeyCheck {
        guard let text = key.material?.value, let known = MomentoKey(text), let subject = Self.subject(key.parameters),
            let endpoint = key.material?.fields["endpoint"]?.exposedText() ?? known.endpoint,
            MomentoKey.isHost(endpoint)
        else { return .cannotTell }
        if let end = known.expiresAt, end <= time.now() { return .refused("it expired \(end.formatted(.iso8601))") }
        return try await connection.probe.check(
            subject, at: connection.cacheAddress(of: endpoint), with: known.bearer)
    }

    /// Nothing ends a key of this generation but its expiry.
    package func revoke(_ key: KeyHandle) async throws(SystemError) {}

    /// The service has no call that changes nothing; what can be seen without one is our own key.
    package func probe(_ parameters: Parameters) async throws(SystemError) {
        guard apiKey != nil else { return }
        _ = try await ownKey()
    }

    static func subject(_ parameters: Parameters) -> MomentoCacheProbe.Subject? {
        MomentoCacheProbe.subject(parameters)
            ?? MomentoPermission.read(parameters).statements.lazy.compactMap(\.readableItem).first
    }

    // MARK: What calls are made with

    /// The key before and its refresh token, where the policy asks to renew by them and both are there.
    private func refreshable(_ request: IssueRequest) -> (MomentoKey, SecretValue)? {
        guard request.parameters.string("renew") == "refresh", request.mayRenew,
            let material = request.current?.material,
            let token = material.fields["refreshToken"], let key = MomentoKey(material.value)
        else { return nil }
        // A dead key is refreshed no more.
        if let end = key.expiresAt, end <= time.now() { return nil }
        return (key, token)
    }

    private func callingKey(for request: IssueRequest) async throws(SystemError) -> MomentoKey {
        guard request.parameters["permissions"] != nil else {
            throw SystemError(
                .misconfigured,
                "there is no unexpired key with a refresh token to renew, and no `permissions` to make a first one with",
                advice:
                    "download a key in Momento's console and hand it over with `keyturn adopt`, or write `permissions`")
        }
        return try await ownKey()
    }

    private func ownKey() async throws(SystemError) -> MomentoKey {
        guard let apiKey else {
            throw SystemError(
                .misconfigured, "Momento's issuer has no `apiKey` to make keys with",
                advice: "give it a super-user key of the cell, as Momento's console makes it")
        }
        guard let key = MomentoKey(try await secrets.resolve(apiKey)), key.generation != .v2 else {
            throw SystemError(
                .misconfigured, "`apiKey` is no key of Momento's first generation",
                advice: "give it a super-user key of the cell, as Momento's console makes it")
        }
        if let end = key.expiresAt, end <= time.now() {
            throw SystemError(
                .unauthorized, "`apiKey` expired \(end.formatted(.iso8601))",
                advice:
                    "make a new super-user key in Momento's console; the policy of one that is kept here has `renew: refresh`"
            )
        }
        return key
    }

    private func address(of key: MomentoKey) throws(SystemError) -> String {
        if let address { return address }
        guard let endpoint = key.endpoint else {
            throw SystemError(
                .misconfigured, "the key does not say which cell it is of",
                advice: "name `address`, https://control.CELL")
        }
        return "https://control.\(endpoint)"
    }

    private static func seconds(_ begin: Date, _ lifetime: Int64) -> String {
        String(Int64(begin.timeIntervalSince1970) + lifetime)
    }

    private static func key(_ response: MomentoWireKeyResponse, _ request: IssueRequest) -> IssuedKey {
        let text = MomentoKey.wrapped(response.apiKey, endpoint: response.endpoint)
        let own = MomentoKey(text)
        let expiresAt = MomentoKey.date(Double(response.validUntil)) ?? own?.expiresAt
        return IssuedKey(
            material: material(
                text, apiKey: SecretValue(utf8: response.apiKey), endpoint: response.endpoint,
                refreshToken: response.refreshToken.isEmpty ? nil : SecretValue(utf8: response.refreshToken)),
            keyID: nil, issuedAt: request.intendedAt, expiresAt: expiresAt)
    }

    static func material(
        _ text: SecretValue, apiKey: SecretValue, endpoint: String?, refreshToken: SecretValue?
    ) -> KeyMaterial {
        var fields = ["apiKey": apiKey]
        fields["endpoint"] = endpoint.map { SecretValue(utf8: $0) }
        fields["refreshToken"] = refreshToken
        return KeyMaterial(value: text, fields: fields)
    }
}
