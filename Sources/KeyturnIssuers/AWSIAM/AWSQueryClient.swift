import Foundation
import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

/// Calls AWS services that speak the query protocol (IAM, STS): a form goes in, XML comes out.
struct AWSQueryClient: Sendable {
    let service: String
    let version: String
    let endpoint: String
    let region: String
    let tls: TLSSettings
    /// Seconds that one request may take.
    let timeout: Int
    let services: SystemServices

    /// An answer that says no, with the code that the service gave.
    struct Refusal: Error {
        let code: String
        let error: SystemError
    }

    /// - Throws: `SystemError`, or ``Refusal`` for an answer with a code that the caller may know.
    func call(
        _ action: String, _ parameters: [(String, String)], as credentials: AWSCredentials
    ) async throws -> XMLElement {
        let fields = [("Action", action), ("Version", version)] + parameters
        let body = fields.map { "\($0.0)=\(Self.encoded($0.1))" }.joined(separator: "&")
        var request = HTTPRequest("POST", endpoint, body: SecretValue(utf8: body), tls: tls)
        request.timeouts.total = .seconds(timeout)
        // Each call that creates something creates one more.
        request.mayRepeat = !action.hasPrefix("Create")
        request.set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
        let response: HTTPResponse
        do throws(HTTPError) {
            let signed = try SigV4(credentials: credentials, region: region, service: service).sign(
                request, at: services.time.now())
            response = try await services.http.execute(signed)
        } catch { throw SystemError(error, from: "AWS \(service)") }
        let answer = XMLElement.parse(response.body)
        guard response.isSuccess else {
            let code = answer?.at("Error", "Code")?.text ?? answer?.at("Errors", "Error", "Code")?.text
            throw refusal(code ?? "", response)
        }
        guard let answer else {
            throw SystemError(
                .badAnswer, "AWS \(service) answered something that is not XML", mayHaveTakenEffect: true)
        }
        return answer
    }

    private func refusal(_ code: String, _ response: HTTPResponse) -> Refusal {
        let general = SystemError(
            status: response.status, of: response, from: "AWS \(service)", now: services.time.now())
        let retryAfter = general.retryAfter
        // Only words that the services document are repeated.
        let error: SystemError =
            switch code {
            case "Throttling", "ThrottlingException", "RequestLimitExceeded", "TooManyRequestsException":
                SystemError(.rateLimited, "AWS \(service) asks to slow down", retryAfter: retryAfter)
            case "AccessDenied", "AccessDeniedException", "UnauthorizedOperation":
                SystemError(
                    .forbidden, "AWS \(service) denies the call", advice: "give Keyturn's credential the right to it")
            case "InvalidClientTokenId", "SignatureDoesNotMatch", "UnrecognizedClientException", "AuthFailure",
                "ExpiredToken", "ExpiredTokenException", "RequestExpired", "IncompleteSignature",
                "MissingAuthenticationToken":
                SystemError(
                    .unauthorized, "AWS \(service) refuses our credential", advice: "check it, and the machine's clock")
            case "NoSuchEntity": SystemError(.notFound, "AWS \(service) knows no such user or key")
            case "LimitExceeded":
                SystemError(
                    .limitExceeded, "the user has as many access keys as AWS allows",
                    advice: "delete one that is not used; Keyturn deletes only its own")
            case "ServiceFailure", "ServiceUnavailable", "InternalFailure":
                SystemError(
                    .unavailable, "AWS \(service) is in trouble", mayHaveTakenEffect: true, retryAfter: retryAfter)
            default: general
            }
        return Refusal(code: code, error: error)
    }

    private static func encoded(_ text: String) -> String {
        text.addingPercentEncoding(withAllowedCharacters: unreserved) ?? ""
    }

    private static let unreserved = CharacterSet(
        charactersIn: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
}
