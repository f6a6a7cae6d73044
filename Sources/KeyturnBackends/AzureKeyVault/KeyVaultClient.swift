import Foundation
import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

/// Calls the data plane of one vault. Sources: the REST reference of Key Vault's secrets, and "Azure Key Vault REST API
/// error codes".
actor KeyVaultClient {
    private let address: String
    private let version: String
    private let login: AzureLogin
    private let tls: TLSSettings
    private let timeout: Int
    private let services: SystemServices
    private let configuredResource: String?
    private var session: (resource: String, client: BearerClient)?
    /// How errors name the vault.
    nonisolated let name: String

    init(_ parameters: Parameters, _ services: SystemServices) throws(SystemError) {
        address = RequestAddress.base(parameters.string("vault") ?? "")
        version = parameters.string("apiVersion") ?? "7.4"
        configuredResource = parameters.string("resource")
        tls = TLSSettings(parameters)
        timeout = parameters.seconds("timeout") ?? 30
        self.services = services
        name = "Key Vault at \((try? RequestAddress(address))?.authority ?? "?")"
        login = try AzureLogin(
            parameters.map("auth"), environment: services.environment, secrets: services.secrets, http: services.http,
            tls: tls, timeout: timeout, time: services.time)
    }

    /// An answer that says no, with the codes that the vault gave.
    struct Refusal: Error {
        let codes: [String]
        let error: SystemError
    }

    /// - Parameters:
    ///   - path: below the vault's address, without a query.
    ///   - more: further parameters of the query.
    /// - Throws: `SystemError`, or ``Refusal``.
    func call(
        _ method: String, _ path: String, _ more: String = "", body: SecretValue? = nil
    ) async throws -> HTTPResponse {
        let query = more.isEmpty ? "" : "&\(more)"
        return try await send(method, "\(address)\(path)?api-version=\(version)\(query)", body)
    }

    /// The page that an answer points to.
    ///
    /// - Throws: `badAnswer` when it is not in this vault: the token goes nowhere else.
    func next(_ link: String) async throws -> HTTPResponse {
        let (mine, theirs) = (try? RequestAddress(address), try? RequestAddress(link))
        guard let mine, let theirs, mine.scheme == theirs.scheme, mine.authority == theirs.authority else {
            throw SystemError(.badAnswer, "\(name): a list goes on at another address")
        }
        return try await send("GET", link, nil)
    }

    private func send(_ method: String, _ url: String, _ body: SecretValue?) async throws -> HTTPResponse {
        var request = HTTPRequest(method, url, body: body, tls: tls)
        request.timeouts.total = .seconds(timeout)
        // Each PUT makes one version more.
        request.mayRepeat = method != "PUT"
        if body != nil { request.set("Content-Type", "application/json") }
        var response = try await client().send(request)
        if response.status == 401, configuredResource == nil, let challenge = challenge(in: response),
            challenge.resource != session?.resource
        {
            response = try await adopt(challenge).send(request)
        }
        guard response.isSuccess else { throw refusal(response) }
        return response
    }

    /// The client for the resource that is configured, or that the vault names when it is asked without a token.
    private func client() async throws(SystemError) -> BearerClient {
        if let session { return session.client }
        if let configuredResource { return open(configuredResource) }
        var request = HTTPRequest("GET", "\(address)/secrets?api-version=\(version)", tls: tls)
        request.timeouts.total = .seconds(timeout)
        let response: HTTPResponse
        do throws(HTTPError) { response = try await services.http.execute(request) } catch {
            throw SystemError(error, from: name)
        }
        if let session { return session.client }
        guard response.status == 401 else {
            throw SystemError(
                status: response.isSuccess ? 300 : response.status, of: response, from: name,
                now: services.time.now(), advice: "see whether `vault` is the address of a key vault")
        }
        guard let challenge = challenge(in: response) else {
            throw SystemError(
                .badAnswer, "\(name): it does not say who gives out tokens for it",
                advice: "see whether `vault` is the address of a key vault", disposition: .permanent)
        }
        return try adopt(challenge)
    }

    private func challenge(in response: HTTPResponse) -> KeyVaultChallenge? {
        response.headers.all("www-authenticate").lazy.compactMap { KeyVaultChallenge(header: $0) }.first
    }

    /// Whoever answers could ask for a token for another service than the one that the configuration means.
    private func adopt(_ challenge: KeyVaultChallenge) throws(SystemError) -> BearerClient {
        let mine = (try? RequestAddress(address))?.authority.lowercased() ?? ""
        guard let theirs = try? RequestAddress(challenge.resource), theirs.scheme == "https",
            mine.hasSuffix(".\(theirs.authority.lowercased())")
        else {
            throw SystemError(
                .misconfigured, "\(name): it asks for a token for another service",
                advice: "check `vault`; if the address is right, name the service's resource with `resource`")
        }
        if let theirs = challenge.tenant, let ours = login.tenant, Self.isID(theirs), Self.isID(ours),
            theirs.lowercased() != ours.lowercased()
        {
            throw SystemError(
                .misconfigured, "\(name): it belongs to another tenant than the one that Keyturn logs in to",
                advice: "check `tenantId` and `vault`")
        }
        return open(challenge.resource)
    }

    private func open(_ resource: String) -> BearerClient {
        let client = BearerClient(tokens: login.tokens(for: resource), http: services.http, system: name)
        session = (resource, client)
        return client
    }

    private static func isID(_ text: String) -> Bool { UUID(uuidString: text) != nil }

    private func refusal(_ response: HTTPResponse) -> Refusal {
        let codes = response.decodeJSON(KeyVaultWire.Refusal.self)?.codes ?? []
        let known = codes.lazy.compactMap { Self.known[$0] }.first
        guard let known else {
            let advice =
                switch response.status {
                case 401: "check the login; the vault refuses a fresh token"
                case 403: "give Keyturn's identity the rights in deploy/rights; new ones take some minutes"
                default: ""
                }
            return Refusal(
                codes: codes,
                error: SystemError(
                    status: response.status, of: response, from: name, now: services.time.now(), advice: advice))
        }
        return Refusal(
            codes: codes,
            error: SystemError(
                known.code, "\(name): \(known.words) (HTTP \(response.status))", advice: known.advice,
                disposition: known.passes ? .passing : nil,
                retryAfter: response.retryAfter(now: services.time.now())))
    }

    private struct Known {
        let code: SystemError.Code
        let words: String
        var advice = ""
        var passes = false
    }

    private static let known: [String: Known] = [
        "ForbiddenByFirewall": Known(
            code: .forbidden, words: "its firewall does not let this machine in",
            advice: "add the machine's address or network to the vault's network rules"),
        "ForbiddenByConnection": Known(
            code: .forbidden, words: "it takes no calls from the public network",
            advice: "reach it by its private endpoint, or open its network rules"),
        "ObjectIsDeletedButRecoverable": Known(
            code: .conflict, words: "a secret of that name lies in the recycle bin",
            advice:
                "`az keyvault secret recover` brings it back, `az keyvault secret purge` ends it; or name another path"),
        "ObjectIsBeingDeleted": Known(
            code: .conflict, words: "the secret is being deleted", advice: "wait for it, then recover or purge it",
            passes: true),
        "ObjectIsBeingRecovered": Known(
            code: .conflict, words: "the secret is being recovered", advice: "wait for it", passes: true),
    ]
}
