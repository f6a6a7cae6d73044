import Foundation
package import KeyturnCore

/// Calls AWS services that speak the query protocol (IAM, STS): a form goes in, XML comes out.
package struct AWSQueryClient: Sendable {
    private let service: String
    private let version: String
    private let endpoint: String
    private let region: String
    private let tls: TLSSettings
    /// Seconds that one request may take.
    package let timeout: Int
    private let http: HTTPClient
    private let time: any Timekeeper

    package init(
        service: String, version: String, endpoint: String, region: String, tls: TLSSettings, timeout: Int,
        http: HTTPClient, time: any Timekeeper
    ) {
        self.service = service
        self.version = version
        self.endpoint = endpoint
        self.region = region
        self.tls = tls
        self.timeout = timeout
        self.http = http
        self.time = time
    }

    /// An answer that says no, with the code that the service gave.
    package struct Refusal: Error {
        package let code: String
        package let error: SystemError
    }

    /// - Parameter credentials: `nil` for a request that is not signed.
    /// - Throws: `SystemError`, or ``Refusal`` for an answer with a code that the caller may know.
    package func call(
        _ action: String, _ parameters: [(String, String)], as credentials: AWSCredentials?
    ) async throws -> XMLElement {
        let fields = [("Action", action), ("Version", version)] + parameters
        let body = FormBody.encode(fields.map { (name: $0.0, value: $0.1) })
        var request = HTTPRequest("POST", endpoint, body: body, tls: tls)
        request.timeouts.total = .seconds(timeout)
        // Each call that creates something creates one more.
        request.mayRepeat = !action.hasPrefix("Create")
        request.set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
        let response: HTTPResponse
        do throws(HTTPError) {
            if let credentials {
                request = try SigV4(credentials: credentials, region: region, service: service).sign(
                    request, at: time.now())
            }
            response = try await http.execute(request)
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
            status: response.status, of: response, from: "AWS \(service)", now: time.now())
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
}
