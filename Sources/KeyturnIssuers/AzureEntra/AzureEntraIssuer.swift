import Foundation
package import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

/// Passwords (client secrets) of applications in Microsoft Entra ID, through Microsoft Graph.
///
/// A password's display name carries the lineage. Graph's copies of the directory follow each other with a delay: a
/// password that was just added may not be listed, nor be removable, nor log in for a while. Sources:
/// https://learn.microsoft.com/graph/api/application-addpassword and application-removepassword
package struct AzureEntraIssuer: ListsKeys {
    package let traits: IssuerTraits = Self.description.traits

    private let graph: String
    private let client: BearerClient
    private let endpoint: EntraTokenEndpoint
    private let tenant: String?
    private let resource: String
    private let tls: TLSSettings
    private let timeout: Int
    /// How long after the call a password that does not show up is still waited for, in seconds.
    private let listingDelay: Int
    private let time: any Timekeeper

    private static let name = "Microsoft Graph"
    /// A password without an end gets this one, in years: the service would give it two.
    private static let longestLife = 100

    init(_ parameters: Parameters, _ services: SystemServices) throws(SystemError) {
        graph = RequestAddress.base(parameters.string("graph") ?? "https://graph.microsoft.com")
        resource = parameters.string("resource") ?? graph
        tls = TLSSettings(parameters)
        timeout = parameters.seconds("timeout") ?? 30
        listingDelay = parameters.seconds("listingDelay") ?? 120
        time = services.time
        let auth = parameters.map("auth")
        let login = try AzureLogin(
            auth, environment: services.environment, secrets: services.secrets, http: services.http, tls: tls,
            timeout: timeout, time: services.time)
        client = BearerClient(tokens: login.tokens(for: resource), http: services.http, system: Self.name)
        endpoint = EntraTokenEndpoint(
            authorityHost: AzureLogin.authorityHost(auth, services.environment), http: services.http, tls: tls,
            timeout: timeout, time: services.time)
        let variable = services.environment["AZURE_TENANT_ID"].flatMap { $0.isEmpty ? nil : $0 }
        tenant = parameters.string("tenantId") ?? login.tenant ?? variable
    }

    package func prepare(_ request: IssueRequest) async throws(SystemError) -> IssuePreparation {
        _ = try await credentials(request.parameters)
        return IssuePreparation()
    }

    package func issue(
        _ request: IssueRequest, prepared: IssuePreparation
    ) async throws(SystemError) -> IssuedKey {
        // Whole seconds, so that what is kept is what the service keeps.
        let start = Date(timeIntervalSince1970: time.now().timeIntervalSince1970.rounded(.down))
        let end = request.lifetime.map { start.addingTimeInterval(TimeInterval($0)) }
        let last = end ?? start.addingTimeInterval(TimeInterval(Self.longestLife * 365 * 86_400))
        let body = GraphWire.Add(
            passwordCredential: .init(displayName: request.lineage.description, endDateTime: last.formatted(.iso8601)))
        let response = try await call("POST", "\(try application(request.parameters))/addPassword", body: body)
        guard let made = response.decodeJSON(GraphWire.Credential.self), let id = made.keyId,
            let text = made.secretText,
            !id.isEmpty, !text.isEmpty
        else { throw SystemError(.badAnswer, "\(Self.name) answered without a password", mayHaveTakenEffect: true) }
        let password = SecretValue(utf8: text)
        return IssuedKey(
            material: KeyMaterial(
                value: password,
                fields: ["clientId": SecretValue(utf8: request.parameters.string("clientId") ?? "")]),
            keyID: id, issuedAt: start,
            // What was granted counts: a policy of the tenant may shorten it.
            expiresAt: end.map { min($0, made.endDateTime.flatMap(RFC3339.parse) ?? $0) })
    }

    package func resolve(
        _ request: IssueRequest, prepared: IssuePreparation
    ) async throws(SystemError) -> IssueResolution {
        let mark = request.lineage.description
        let ids = try await credentials(request.parameters).filter { $0.displayName == mark }.compactMap(\.keyId)
        guard ids.isEmpty else { return .orphaned(keyIDs: ids) }
        guard request.waited < Double(listingDelay) else { return .neverMade }
        return .undecided(retryAfter: min(10, max(1, Double(listingDelay) - request.waited)))
    }

    /// Logs in as the application with the password.
    package func check(_ key: KeyHandle) async throws(SystemError) -> KeyCheck {
        guard let password = key.material?.value, let clientID = key.parameters.string("clientId"), let tenant else {
            return .cannotTell
        }
        switch try await endpoint.logIn(
            tenant: tenant, clientID: clientID, proof: .secret(password), resource: resource)
        {
        case .token: return .works
        case .refused(let refusal):
            if refusal.isExpired { return .refused("the password has expired (\(refusal.word))") }
            // What a new password is answered while it spreads, and a dead one for good: the engine's patience decides.
            if refusal.mayPass { return .notYet("Microsoft Entra ID does not accept the password (\(refusal.word))") }
            throw refusal.error
        }
    }

    package func revoke(_ key: KeyHandle) async throws(SystemError) {
        guard let id = key.keyID else { throw SystemError(.local, "the password's id is not known") }
        do throws(SystemError) {
            _ = try await call(
                "POST", "\(try application(key.parameters))/removePassword", body: GraphWire.Remove(keyId: id))
        } catch {
            // A password that is gone is answered like one that has not come yet to the copy that was asked.
            guard error.code == .badRequest || error.code == .notFound else { throw error }
            let isThere: Bool
            do throws(SystemError) {
                isThere = try await credentials(key.parameters).contains { $0.keyId?.lowercased() == id.lowercased() }
            } catch {
                // The application is gone, and its passwords with it.
                guard error.code != .notFound else { return }
                throw error
            }
            guard isThere else { return }
            throw SystemError(.notYet, "\(Self.name) lists password \(id) and does not remove it yet")
        }
    }

    package func keys(for parameters: Parameters) async throws(SystemError) -> [ListedKey] {
        try await credentials(parameters).compactMap { credential in
            credential.keyId.map { id in
                ListedKey(
                    keyID: id, createdAt: credential.startDateTime.flatMap(RFC3339.parse),
                    lineage: credential.displayName.flatMap { Lineage(mark: $0) })
            }
        }
    }

    package func probe(_ parameters: Parameters) async throws(SystemError) { _ = try await credentials(parameters) }

    private func credentials(_ parameters: Parameters) async throws(SystemError) -> [GraphWire.Credential] {
        let path = "\(try application(parameters))?$select=passwordCredentials"
        let response = try await call("GET", path, body: GraphWire.Remove?.none)
        guard let answer = response.decodeJSON(GraphWire.Application.self), let list = answer.passwordCredentials else {
            throw SystemError(.badAnswer, "\(Self.name) answered without a list of passwords")
        }
        return list
    }

    /// The application by its client id, which is what people know of it; its object id is another one.
    private func application(_ parameters: Parameters) throws(SystemError) -> String {
        guard let id = parameters.string("clientId"), Self.isID(id) else {
            throw SystemError(.misconfigured, "`clientId` is not an application's id")
        }
        return "/v1.0/applications(appId='\(id)')"
    }

    private func call(
        _ method: String, _ path: String, body: (some Encodable)?
    ) async throws(SystemError) -> HTTPResponse {
        var content: SecretValue?
        if let body { content = try JSONBody.encode(body) }
        var request = HTTPRequest(method, graph + path, body: content, tls: tls)
        request.timeouts.total = .seconds(timeout)
        // Each addPassword makes one more.
        request.mayRepeat = method == "GET" || path.hasSuffix("/removePassword")
        if content != nil { request.set("Content-Type", "application/json") }
        let response = try await client.send(request)
        guard response.isSuccess else { throw refusal(response) }
        return response
    }

    private func refusal(_ response: HTTPResponse) -> SystemError {
        let general = SystemError(status: response.status, of: response, from: Self.name, now: time.now())
        let code = response.decodeJSON(GraphWire.Refusal.self)?.error?.code ?? ""
        func told(_ words: String, _ advice: String = "", _ kind: SystemError.Code? = nil) -> SystemError {
            SystemError(
                kind ?? general.code, "\(Self.name): \(words) (HTTP \(response.status))", advice: advice,
                mayHaveTakenEffect: general.mayHaveTakenEffect, retryAfter: general.retryAfter)
        }
        // Only codes that are documented are known; none is repeated.
        switch (code, response.status) {
        case ("Authorization_RequestDenied", _):
            return told(
                "the call is denied",
                "give Keyturn's identity Application.ReadWrite.OwnedBy and make it an owner of the application",
                .forbidden)
        case ("Request_ResourceNotFound", _), (_, 404):
            return told("there is no such application", "check `clientId`, and that Keyturn may see it", .notFound)
        case ("CredentialInvalidLifetimeAsPerAppPolicy", _):
            return told(
                "a policy of the tenant allows no password that lives so long", "shorten the lifetime", .badRequest)
        case ("CredentialTypeNotAllowedAsPerAppPolicy", _):
            return told(
                "a policy of the tenant allows no passwords for this application",
                "ask who keeps the tenant's policies",
                .forbidden)
        case ("Directory_QuotaExceeded", _), ("Directory_ResourceSizeExceeded", _):
            return told("the application has no room for another password", "remove some that are over", .limitExceeded)
        case ("Request_MultipleObjectsWithSameKeyValue", _), ("Directory_ConcurrencyViolation", _),
            ("ConcurrencyViolation", _), (_, 409):
            return SystemError(
                .conflict, "\(Self.name): the application changed at the same moment (HTTP \(response.status))",
                disposition: .passing, retryAfter: general.retryAfter)
        case (_, 401): return told("a fresh token is refused", "check `graph` and the login")
        case (_, 403): return told("our credential lacks the right", "see deploy/rights for what Keyturn needs")
        default: return general
        }
    }

    private static func isID(_ text: String) -> Bool { UUID(uuidString: text) != nil }
}

extension AzureEntraIssuer {
    static let type = IssuerType(description: description) { (_, parameters, services) throws(SystemError) in
        try AzureEntraIssuer(parameters, services)
    }

    static let description = IssuerDescription(
        type: "azure-entra-password", summary: "Passwords (client secrets) of applications in Microsoft Entra ID.",
        configuration: ParameterSchema([
            ParameterField("auth", .object(AzureLogin.schema), "How to log in; as the environment says when absent."),
            ParameterField(
                "tenantId", .string(),
                "The tenant that new passwords are tried in; that of the login or AZURE_TENANT_ID when absent."),
            ParameterField(
                "graph", .url, "Microsoft Graph of another cloud; https://graph.microsoft.com when absent."),
            ParameterField("resource", .string(), "What tokens are asked for; `graph` when absent."),
            ParameterField(
                "listingDelay", .duration(1...3600), default: .integer(120),
                "How long after a lost answer a password may still show up."),
            ParameterField("timeout", .duration(1...300), default: .integer(30), "How long one request may take."),
            TLSSettings.caFile, TLSSettings.allowInsecure,
        ]) { parameters, environment in
            let auth = parameters.map("auth")
            let isKnown =
                parameters["tenantId"] != nil || auth?["clientSecret"] != nil
                || auth?.map("workloadIdentity")?["tenantId"] != nil || environment["AZURE_TENANT_ID"] != nil
            guard !isKnown else { return [] }
            return [
                ParameterProblem(
                    path: [], message: "it has no 'tenantId': new passwords can't be tried before they are used",
                    isWarning: true)
            ]
        },
        issue: ParameterSchema([
            ParameterField("clientId", .string(), required: true, "The application's (client) id.")
        ]), traits: IssuerTraits(kind: .listable, enforcesExpiry: true, checks: true), fields: ["clientId"]
    ) { _, issue, lifetime in
        var problems: [ParameterProblem] = []
        if !isID(issue.string("clientId") ?? "") {
            problems.append(
                ParameterProblem(
                    path: ["clientId"], message: "an application's id looks like 00000000-0000-0000-0000-000000000000"))
        }
        return problems
    }
}
