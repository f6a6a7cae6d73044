import Foundation
import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

/// Speaks to Vault or OpenBao: address, namespace, login, states of a cluster. Source: the HTTP API pages of both.
actor VaultClient {
    private let address: String
    private let namespace: String?
    private let tls: TLSSettings
    private let timeout: Int
    private let services: SystemServices
    private let tokens: AccessTokenCache
    private let session: VaultSession
    /// The state of the storage that the last answer came from: a node that has not got so far is not to answer.
    /// See https://developer.hashicorp.com/vault/docs/enterprise/consistency
    private var index: String?
    /// How errors name the system.
    nonisolated let name: String

    init(_ parameters: Parameters, _ services: SystemServices) throws(SystemError) {
        let address = RequestAddress.base(parameters.string("address") ?? "")
        let namespace = parameters.string("namespace")
        let tls = TLSSettings(parameters)
        let timeout = parameters.seconds("timeout") ?? 30
        let name = "Vault at \((try? RequestAddress(address))?.authority ?? "?")"
        guard let login = VaultLogin(parameters.map("auth") ?? [:]) else {
            throw SystemError(.misconfigured, "\(name): `auth` needs `token`, `appRole`, `kubernetes` or `jwt`")
        }
        let session = VaultSession(login, services, name: name) {
            (method, path, body, token) async throws(SystemError) in
            var request = Self.request(method, "\(address)/v1/\(path)", body, token, namespace, tls, timeout)
            // A login may use up a secret id.
            request.mayRepeat = token != nil
            return try await Self.send(request, services, name)
        }
        tokens = AccessTokenCache(time: services.time) { () async throws(SystemError) in try await session.next() }
        self.address = address
        self.namespace = namespace
        self.tls = tls
        self.timeout = timeout
        self.services = services
        self.session = session
        self.name = name
    }

    /// An answer with its status; statuses that say no are errors, but for 404 where a call expects it.
    struct Answer: Sendable {
        let status: Int
        let response: HTTPResponse

        func json<Value: Decodable>(_ type: Value.Type) -> Value? { response.decodeJSON(type) }
    }

    private struct Errors: Decodable { let errors: [String]? }

    /// How often a node that is behind is asked, and how long it is given each time.
    private static let mostTries = 6
    private static let pause = Duration.milliseconds(250)

    /// - Parameter mayBeMissing: whether 404 is an answer rather than a failure.
    func call(
        _ method: String, _ path: String, body: SecretValue? = nil, mayBeMissing: Bool = false
    ) async throws(SystemError) -> Answer {
        var answer = try await send(method, path, body)
        var tries = 1
        // Nothing was done: the node has not got as far as the one that answered before.
        while answer.status == 412, tries < Self.mostTries {
            do { try await services.time.sleep(for: Self.pause) } catch {
                throw SystemError(.cancelled, "waiting was cancelled")
            }
            answer = try await send(method, path, body)
            tries += 1
        }
        return mayBeMissing && answer.status == 404 ? answer : try check(answer)
    }

    private func send(_ method: String, _ path: String, _ body: SecretValue?) async throws(SystemError) -> Answer {
        let token = try await tokens.token()
        var answer = try await send(method, path, body, token)
        // A token that ended is answered like a right that is missing: one fresh login tells them apart.
        if answer.status == 403 {
            await session.refused()
            await tokens.refused(token)
            answer = try await send(method, path, body, try await tokens.token())
        }
        return answer
    }

    private func send(
        _ method: String, _ path: String, _ body: SecretValue?, _ token: SecretValue
    ) async throws(SystemError) -> Answer {
        var request = Self.request(method, "\(address)/v1/\(path)", body, token, namespace, tls, timeout)
        // A write that comes twice is refused the second time, since it names the version that it replaces.
        request.mayRepeat = true
        if let index { request.set("X-Vault-Index", index) }
        let answer = try await Self.send(request, services, name)
        if let newer = answer.response.headers.first("x-vault-index") { index = newer }
        return answer
    }

    private static func request(
        _ method: String, _ url: String, _ body: SecretValue?, _ token: SecretValue?, _ namespace: String?,
        _ tls: TLSSettings, _ timeout: Int
    ) -> HTTPRequest {
        var request = HTTPRequest(method, url, body: body, tls: tls)
        request.timeouts.total = .seconds(timeout)
        request.set("X-Vault-Request", "true")
        if let namespace { request.set("X-Vault-Namespace", namespace) }
        if let token { request.set("X-Vault-Token", token) }
        if body != nil { request.set("Content-Type", "application/json") }
        return request
    }

    private static func send(
        _ request: HTTPRequest, _ services: SystemServices, _ name: String
    ) async throws(SystemError) -> Answer {
        do throws(HTTPError) {
            let response = try await services.http.execute(request)
            return Answer(status: response.status, response: response)
        } catch { throw SystemError(error, from: name) }
    }

    /// https://developer.hashicorp.com/vault/api-docs#http-status-codes and /api-docs/system/health
    private func check(_ answer: Answer) throws(SystemError) -> Answer {
        switch answer.status {
        case 200..<300: return answer
        case 307:
            throw SystemError(
                .unavailable, "\(name): the node is a standby and answers with a redirect to the active one (HTTP 307)",
                advice: "name an address that leads to the active node; redirects are not followed")
        case 400:
            let words = answer.json(Errors.self)?.errors?.joined() ?? ""
            if words.contains("check-and-set") {
                throw SystemError(.conflict, "\(name): the secret changed while it was written", disposition: .passing)
            }
            throw failure(answer, "see whether the mount is a KV version 2 engine")
        case 404: throw failure(answer, "see whether the mount is there")
        case 403: throw failure(answer, "check the token and its policy; the documentation lists the least rights")
        case 412: throw behind(answer, "the node has not caught up with the last write")
        case 429: throw failure(answer, "a rate limit, or a standby that takes no calls; see which node answers")
        case 472: throw behind(answer, "the node is a disaster recovery secondary", "name the primary's address")
        case 473:
            throw behind(answer, "the node is a performance standby", "name an address that leads to the active node")
        case 501:
            throw SystemError(.misconfigured, "\(name) is not initialised")
        case 503: throw failure(answer, "it is sealed or in maintenance; unseal it")
        default: throw failure(answer, "")
        }
    }

    private func behind(_ answer: Answer, _ words: String, _ advice: String = "") -> SystemError {
        SystemError(
            .unavailable, "\(name): \(words) (HTTP \(answer.status))", advice: advice,
            retryAfter: answer.response.retryAfter(now: services.time.now()))
    }

    private func failure(_ answer: Answer, _ advice: String) -> SystemError {
        SystemError(
            status: answer.status, of: answer.response, from: name, now: services.time.now(), advice: advice)
    }
}
