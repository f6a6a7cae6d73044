import Foundation
import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

/// Calls GitHub's REST interface. Source: https://docs.github.com/rest/using-the-rest-api
struct GitHubClient: Sendable {
    private let address: String
    private let token: SecretReference
    private let tls: TLSSettings
    private let timeout: Int
    private let services: SystemServices
    let name: String

    init(_ parameters: Parameters, _ services: SystemServices) throws(SystemError) {
        address = RequestAddress.base(parameters.string("address") ?? "https://api.github.com")
        name = "GitHub at \((try? RequestAddress(address))?.authority ?? "?")"
        guard let token = parameters.secret("token") else {
            throw SystemError(.misconfigured, "\(name): `token` is missing")
        }
        self.token = token
        tls = TLSSettings(parameters)
        timeout = parameters.seconds("timeout") ?? 30
        self.services = services
    }

    /// - Parameter mayBeMissing: whether 404 is an answer rather than a failure.
    func call(
        _ method: String, _ path: String, body: SecretValue? = nil, mayBeMissing: Bool = false
    ) async throws(SystemError) -> HTTPResponse {
        var request = HTTPRequest(method, "\(address)\(path)", body: body, tls: tls)
        request.timeouts.total = .seconds(timeout)
        request.set("Accept", "application/vnd.github+json")
        request.set("X-GitHub-Api-Version", "2022-11-28")
        if body != nil { request.set("Content-Type", "application/json") }
        let token = try await services.secrets.resolve(token)
        request.set("Authorization", token.withUnsafeBytes { SecretValue(Array("Bearer ".utf8) + Array($0)) })
        let response: HTTPResponse
        do throws(HTTPError) { response = try await services.http.execute(request) } catch {
            throw SystemError(error, from: name)
        }
        if response.isSuccess || (mayBeMissing && response.status == 404) { return response }
        throw refusal(response)
    }

    /// https://docs.github.com/rest/using-the-rest-api/troubleshooting-the-rest-api
    private func refusal(_ response: HTTPResponse) -> SystemError {
        let now = services.time.now()
        let isSpent = response.headers.first("x-ratelimit-remaining") == "0"
        if response.status == 403 || response.status == 429, isSpent || response.retryAfter(now: now) != nil {
            let reset = isSpent ? response.headers.first("x-ratelimit-reset").flatMap(Double.init) : nil
            return SystemError(
                .rateLimited, "\(name) asks to slow down (HTTP \(response.status))",
                retryAfter: response.retryAfter(now: now) ?? reset.map { max(1, $0 - now.timeIntervalSince1970) })
        }
        let advice =
            switch response.status {
            case 401: "check `token`, and whether it has expired"
            case 403: "give the token the rights in deploy/rights/github-actions-secret.txt"
            case 404: "GitHub answers so as well for what the token may not see: check the path and the token's rights"
            default: ""
            }
        return SystemError(status: response.status, of: response, from: name, now: now, advice: advice)
    }
}
