// Members are named as the service names them.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import Foundation
package import KeyturnCore

/// Google's token endpoint, for the JWT bearer grant (RFC 7523).
///
/// Source: "Using OAuth 2.0 for server to server applications", developers.google.com/identity/protocols.
package struct GoogleTokenEndpoint: Sendable {
    package enum Answer: Sendable {
        case token(AccessToken)
        /// `invalid_grant`: what a key is answered that is unknown (yet), disabled or deleted, and any key by a clock that
        /// is wrong.
        case refused(SystemError)
    }

    private let address: String?
    private let http: HTTPClient
    private let tls: TLSSettings
    private let timeout: Int
    private let time: any Timekeeper

    static let name = "Google's token endpoint"
    /// What a token is asked for; the account's own roles say what it may do.
    package static let scope = "https://www.googleapis.com/auth/cloud-platform"
    private static let usual = "https://oauth2.googleapis.com/token"

    /// - Parameters:
    ///   - address: in place of the one that keys name.
    ///   - timeout: seconds that one request may take.
    package init(address: String?, http: HTTPClient, tls: TLSSettings, timeout: Int, time: any Timekeeper) {
        self.address = address
        self.http = http
        self.tls = tls
        self.timeout = timeout
        self.time = time
    }

    private struct Granted: Decodable {
        let access_token: String
        let expires_in: LooseNumber
    }

    private struct Refusal: Decodable { let error: String? }

    /// Asks for a token as the account whose key it is.
    ///
    /// - Throws: `SystemError` when there is no usable answer, never with `mayHaveTakenEffect`: a token that nobody got
    ///   changes nothing.
    package func logIn(_ key: ServiceAccountKey) async throws(SystemError) -> Answer {
        guard let assertion = try key.assertion(scope: Self.scope, at: time.now()).exposedText() else {
            throw SystemError(.local, "an assertion can't be written")
        }
        let body = FormBody.encode([
            ("grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer"), ("assertion", assertion),
        ])
        var request = HTTPRequest("POST", address ?? key.tokenURI ?? Self.usual, body: body, tls: tls)
        request.timeouts.total = .seconds(timeout)
        request.mayRepeat = true
        request.set("Content-Type", FormBody.contentType)
        request.set("Accept", "application/json")
        let response: HTTPResponse
        do throws(HTTPError) { response = try await http.execute(request) } catch {
            throw SystemError(error, from: Self.name).withoutEffect
        }
        if response.isSuccess {
            guard let granted = response.decodeJSON(Granted.self), !granted.access_token.isEmpty else {
                throw SystemError(.badAnswer, "\(Self.name): the login was answered without a token")
            }
            return .token(
                AccessToken(value: SecretValue(utf8: granted.access_token), lifetime: granted.expires_in.value))
        }
        let word = response.decodeJSON(Refusal.self)?.error
        guard word == "invalid_grant", response.status < 500 else {
            throw SystemError(
                status: response.status, of: response, from: Self.name, now: time.now(),
                advice: response.status == 404 ? "check `tokenEndpoint`" : ""
            ).withoutEffect
        }
        return .refused(
            SystemError(
                .unauthorized, "\(Self.name) refuses the key of \(key.clientEmail) (invalid_grant)",
                advice: "see whether the key is there and enabled, and this machine's clock"))
    }
}
