package import KeyturnCore

/// Sends requests with an access token, and once more with a fresh one when the token was refused.
package struct BearerClient: Sendable {
    private let tokens: AccessTokenCache
    private let http: HTTPClient
    private let system: String

    /// - Parameter system: how errors name the system that is asked.
    package init(tokens: AccessTokenCache, http: HTTPClient, system: String) {
        self.tokens = tokens
        self.http = http
        self.system = system
    }

    /// - Returns: the answer, whatever its status: 401 only when a fresh token was refused, too.
    package func send(_ request: HTTPRequest) async throws(SystemError) -> HTTPResponse {
        let first = try await tokens.token()
        let response = try await send(request, first)
        guard response.status == 401 else { return response }
        await tokens.refused(first)
        return try await send(request, try await tokens.token())
    }

    private func send(_ request: HTTPRequest, _ token: SecretValue) async throws(SystemError) -> HTTPResponse {
        var request = request
        let header = token.withUnsafeBytes { SecretValue(Array("Bearer ".utf8) + Array($0)) }
        request.set("Authorization", header)
        do throws(HTTPError) { return try await http.execute(request) } catch {
            throw SystemError(error, from: system)
        }
    }
}
