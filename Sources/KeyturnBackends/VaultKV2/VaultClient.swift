// Members are named as the service names them.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import Foundation
import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

/// Speaks to Vault or OpenBao: address, namespace, login. Source: the HTTP API pages of both.
actor VaultClient {
    enum Login: Sendable {
        case token(SecretReference)
        case appRole(roleID: String, secretID: SecretReference, mount: String)
    }

    private let address: String
    private let namespace: String?
    private let login: Login
    private let tls: TLSSettings
    private let timeout: Int
    private let services: SystemServices
    private var session: (token: SecretValue, until: Date?)?
    /// How errors name the system.
    nonisolated let name: String

    init(_ parameters: Parameters, _ services: SystemServices) throws(SystemError) {
        address = RequestAddress.base(parameters.string("address") ?? "")
        namespace = parameters.string("namespace")
        tls = TLSSettings(parameters)
        timeout = parameters.seconds("timeout") ?? 30
        self.services = services
        let authority = (try? RequestAddress(address))?.authority ?? "?"
        name = "Vault at \(authority)"
        let auth = parameters.map("auth") ?? [:]
        if let token = auth.secret("token") {
            login = .token(token)
        } else if let role = auth.map("appRole"), let secretID = role.secret("secretId") {
            login = .appRole(
                roleID: role.string("roleId") ?? "", secretID: secretID, mount: role.string("mount") ?? "approle")
        } else {
            throw SystemError(.misconfigured, "\(name): `auth` needs `token` or `appRole`")
        }
    }

    /// An answer with its status; statuses that say no are errors, but for 404 where a call expects it.
    struct Answer: Sendable {
        let status: Int
        let response: HTTPResponse

        func json<Value: Decodable>(_ type: Value.Type) -> Value? { response.decodeJSON(type) }
    }

    private struct Errors: Decodable { let errors: [String]? }

    /// - Parameter mayBeMissing: whether 404 is an answer rather than a failure.
    func call(
        _ method: String, _ path: String, body: SecretValue? = nil, mayBeMissing: Bool = false
    ) async throws(SystemError) -> Answer {
        var answer = try await send(method, path, body, try await token())
        // A token that ended is answered like a right that is missing: one fresh login tells them apart.
        if answer.status == 403 {
            session = nil
            answer = try await send(method, path, body, try await token())
        }
        return mayBeMissing && answer.status == 404 ? answer : try check(answer)
    }

    private func send(
        _ method: String, _ path: String, _ body: SecretValue?, _ token: SecretValue?
    ) async throws(SystemError) -> Answer {
        var request = HTTPRequest(method, "\(address)/v1/\(path)", body: body, tls: tls)
        request.timeouts.total = .seconds(timeout)
        // A write that comes twice is refused the second time, since it names the version that it replaces. A login may
        // use up a secret id.
        request.mayRepeat = token != nil
        request.set("X-Vault-Request", "true")
        if let namespace { request.set("X-Vault-Namespace", namespace) }
        if let token { request.set("X-Vault-Token", token) }
        if body != nil { request.set("Content-Type", "application/json") }
        do throws(HTTPError) {
            let response = try await services.http.execute(request)
            return Answer(status: response.status, response: response)
        } catch { throw SystemError(error, from: name) }
    }

    private func check(_ answer: Answer) throws(SystemError) -> Answer {
        switch answer.status {
        case 200..<300: return answer
        case 400:
            let words = answer.json(Errors.self)?.errors?.joined() ?? ""
            if words.contains("check-and-set") {
                throw SystemError(.conflict, "\(name): the secret changed while it was written", disposition: .passing)
            }
            throw failure(answer, "see whether the mount is a KV version 2 engine")
        case 404: throw failure(answer, "see whether the mount is there")
        case 403: throw failure(answer, "check the token and its policy; the documentation lists the least rights")
        case 412, 472, 473:
            throw SystemError(
                .unavailable, "\(name): the node is behind or a standby (HTTP \(answer.status))",
                retryAfter: answer.response.retryAfter(now: services.time.now()))
        case 501:
            throw SystemError(.misconfigured, "\(name) is not initialised")
        case 503: throw failure(answer, "it is sealed or in maintenance; unseal it")
        default: throw failure(answer, "")
        }
    }

    private func failure(_ answer: Answer, _ advice: String) -> SystemError {
        SystemError(
            status: answer.status, of: answer.response, from: name, now: services.time.now(), advice: advice)
    }

    private struct LoginAnswer: Decodable {
        struct Auth: Decodable {
            let client_token: String
            let lease_duration: Double
        }
        let auth: Auth?
    }

    private func token() async throws(SystemError) -> SecretValue {
        if let session, session.until.map({ $0 > services.time.now() }) ?? true { return session.token }
        switch login {
        case .token(let reference):
            let token = try await services.secrets.resolve(reference)
            // Read anew after a refusal, when the file may hold another one.
            session = (token, nil)
            return token
        case .appRole(let roleID, let reference, let mount):
            let secretID = try await services.secrets.resolve(reference)
            guard let text = secretID.exposedText(),
                let body = try? JSONEncoder().encode(["role_id": roleID, "secret_id": text])
            else { throw SystemError(.misconfigured, "\(name): the AppRole secret id is not text") }
            let answer = try await send("POST", "auth/\(mount)/login", SecretValue(body), nil)
            if answer.status == 400 || answer.status == 403 || answer.status == 404 {
                throw SystemError(
                    .unauthorized, "\(name): the AppRole login was refused (HTTP \(answer.status))",
                    advice: "check roleId, secretId and mount")
            }
            guard let auth = try check(answer).json(LoginAnswer.self)?.auth else {
                throw SystemError(.badAnswer, "\(name): the login was answered without a token")
            }
            let token = SecretValue(utf8: auth.client_token)
            // Two thirds of its life; none means that it does not end.
            let until =
                auth.lease_duration > 0
                ? services.time.now().addingTimeInterval(auth.lease_duration * 2 / 3) : nil
            session = (token, until)
            return token
        }
    }

    var now: Date { services.time.now() }
}
