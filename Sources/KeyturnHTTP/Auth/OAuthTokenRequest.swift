// Members are named as the standard names them.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import KeyturnCore

/// A question to a token endpoint of OAuth 2.0. Source: RFC 6749, sections 4.4.2 and 5.1.
struct OAuthTokenRequest: Sendable {
    /// How errors name the endpoint.
    let name: String
    let tls: TLSSettings
    /// Seconds that it may take.
    let timeout: Int

    enum Answer: Sendable {
        case token(AccessToken)
        /// Any other status; what it means is for the provider's own words to say.
        case refused(HTTPResponse)
    }

    private struct Granted: Decodable {
        let access_token: String
        let expires_in: LooseNumber
    }

    /// - Throws: `SystemError` when there is no usable answer, never with `mayHaveTakenEffect`: a token that nobody got
    ///   changes nothing.
    func send(
        _ fields: [(name: String, value: String)], to url: String, over http: HTTPClient
    ) async throws(SystemError) -> Answer {
        var request = HTTPRequest("POST", url, body: FormBody.encode(fields), tls: tls)
        request.timeouts.total = .seconds(timeout)
        request.mayRepeat = true
        request.set("Content-Type", FormBody.contentType)
        request.set("Accept", "application/json")
        let response: HTTPResponse
        do throws(HTTPError) { response = try await http.execute(request) } catch {
            throw SystemError(error, from: name).withoutEffect
        }
        guard response.isSuccess else { return .refused(response) }
        guard let granted = response.decodeJSON(Granted.self), !granted.access_token.isEmpty else {
            throw SystemError(.badAnswer, "\(name): the login was answered without a token")
        }
        return .token(AccessToken(value: SecretValue(utf8: granted.access_token), lifetime: granted.expires_in.value))
    }
}
