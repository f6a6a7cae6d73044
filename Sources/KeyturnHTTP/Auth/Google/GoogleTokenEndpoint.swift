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
    private let request: OAuthTokenRequest
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
        request = OAuthTokenRequest(name: Self.name, tls: tls, timeout: timeout)
        self.time = time
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
        let fields = [
            (name: "grant_type", value: "urn:ietf:params:oauth:grant-type:jwt-bearer"),
            (name: "assertion", value: assertion),
        ]
        let response: HTTPResponse
        switch try await request.send(fields, to: address ?? key.tokenURI ?? Self.usual, over: http) {
        case .token(let token): return .token(token)
        case .refused(let refusal): response = refusal
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
