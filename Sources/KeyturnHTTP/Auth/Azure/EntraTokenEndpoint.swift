// Members are named as the service names them.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import Foundation
package import KeyturnCore

/// The token endpoint of Microsoft Entra ID, for the client credentials flow.
///
/// Source: "OAuth 2.0 client credentials flow on the Microsoft identity platform", learn.microsoft.com/entra.
package struct EntraTokenEndpoint: Sendable {
    /// What an application shows that it is itself.
    package enum Proof: Sendable {
        case secret(SecretValue)
        /// A token of another provider that the application trusts (a federated credential).
        case assertion(SecretValue)
    }

    package enum Answer: Sendable {
        case token(AccessToken)
        case refused(EntraRefusal)
    }

    private let authorityHost: String
    private let http: HTTPClient
    private let request: OAuthTokenRequest
    private let time: any Timekeeper

    static let name = "Microsoft Entra ID"

    /// - Parameters:
    ///   - authorityHost: such as `https://login.microsoftonline.com`; other clouds have others.
    ///   - timeout: seconds that one request may take.
    package init(
        authorityHost: String, http: HTTPClient, tls: TLSSettings, timeout: Int, time: any Timekeeper
    ) {
        self.authorityHost = RequestAddress.base(authorityHost)
        self.http = http
        request = OAuthTokenRequest(name: Self.name, tls: tls, timeout: timeout)
        self.time = time
    }

    /// Asks for a token for all that the application may do at a resource, such as `https://vault.azure.net`.
    ///
    /// - Throws: `SystemError` when there is no usable answer, never with `mayHaveTakenEffect`: a token that nobody got
    ///   changes nothing.
    package func logIn(
        tenant: String, clientID: String, proof: Proof, resource: String
    ) async throws(SystemError) -> Answer {
        var fields: [(name: String, value: String)] = [
            ("grant_type", "client_credentials"), ("client_id", clientID), ("scope", "\(resource)/.default"),
        ]
        switch proof {
        case .secret(let secret): fields.append(("client_secret", try Self.text(secret)))
        case .assertion(let assertion):
            fields.append(("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"))
            fields.append(("client_assertion", try Self.text(assertion)))
        }
        let url = "\(authorityHost)/\(FormBody.escape(tenant))/oauth2/v2.0/token"
        let response: HTTPResponse
        switch try await request.send(fields, to: url, over: http) {
        case .token(let token): return .token(token)
        case .refused(let refusal): response = refusal
        }
        let words = response.decodeJSON(EntraRefusal.Wire.self)
        if words?.error == "temporarily_unavailable" {
            throw SystemError(
                .unavailable, "\(Self.name) is not available for the moment (HTTP \(response.status))",
                retryAfter: response.retryAfter(now: time.now()))
        }
        guard response.status == 400 || response.status == 401 else {
            throw SystemError(
                status: response.status, of: response, from: Self.name, now: time.now(),
                advice: response.status == 404 ? "check the tenant and `authorityHost`" : ""
            ).withoutEffect
        }
        return .refused(EntraRefusal(codes: words?.error_codes ?? [], clientID: clientID, tenant: tenant))
    }

    private static func text(_ value: SecretValue) throws(SystemError) -> String {
        guard let text = value.exposedText() else {
            throw SystemError(.misconfigured, "\(name): the credential is not text")
        }
        return text
    }
}

/// A login that was refused, with the numbers that say why.
///
/// The numbers may change at any time, as Microsoft says, so that only the advice depends on them. Source: "Microsoft
/// Entra authentication and authorization error codes".
package struct EntraRefusal: Sendable {
    struct Wire: Decodable {
        let error: String?
        let error_codes: [Int]?
    }

    package let codes: [Int]
    let clientID: String
    let tenant: String

    /// `AADSTS7000215`, or what there is to say without a number.
    package var word: String { codes.first.map { "AADSTS\($0)" } ?? "without a number" }

    /// Whether a new secret or application is answered so until it is known everywhere, and a dead one for good.
    package var mayPass: Bool { codes.isEmpty || codes.contains(7_000_215) || codes.contains(700_016) }

    /// Whether the secret is over.
    package var isExpired: Bool { codes.contains(7_000_222) }

    package var error: SystemError {
        let known = codes.lazy.compactMap { Self.advice[$0] }.first
        return SystemError(
            known?.code ?? .unauthorized,
            "\(EntraTokenEndpoint.name) refuses the login of application \(clientID) (\(word))",
            advice: known?.advice ?? "look the number up at https://login.microsoftonline.com/error")
    }

    private static let advice: [Int: (code: SystemError.Code, advice: String)] = [
        7_000_215: (.unauthorized, "check the client secret: it is the secret's value, not its id"),
        7_000_222: (.unauthorized, "the client secret has expired; make another one"),
        700_016: (.unauthorized, "check `clientId` and `tenantId`: the tenant knows no such application"),
        90_002: (.unauthorized, "check `tenantId`: there is no such tenant in this cloud"),
        900_023: (.unauthorized, "check `tenantId`: it is neither an id nor a domain"),
        700_024: (.unauthorized, "the federated token has expired; see who writes its file, and the machine's clock"),
        70_021: (.unauthorized, "the application has no federated credential for this issuer and subject"),
        700_211: (.unauthorized, "the application has no federated credential for this issuer"),
        700_213: (.unauthorized, "the application has no federated credential for this subject"),
        500_011: (.misconfigured, "check `resource`: the tenant does not know it"),
        53_003: (.forbidden, "a policy of conditional access blocks the login"),
    ]
}

/// A number that some servers write in quotation marks.
struct LooseNumber: Decodable, Sendable {
    let value: Double

    init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        let number = try (try? container.decode(Double.self)) ?? Double(container.decode(String.self))
        guard let number, number.isFinite else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "not a number")
        }
        value = number
    }
}

extension SystemError {
    /// The same of a call that changes nothing, whatever became of it.
    var withoutEffect: SystemError {
        SystemError(
            code, message, advice: advice, disposition: disposition, mayHaveTakenEffect: false, retryAfter: retryAfter)
    }
}
