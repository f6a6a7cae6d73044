// Members are named as the service names them.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import Foundation
import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

/// Calls AWS Secrets Manager: JSON in and out, one operation a request. Source: the API reference, 2017-10-17.
struct SecretsManagerClient: Sendable {
    private let endpoint: String
    private let region: String
    private let tls: TLSSettings
    private let timeout: Int
    private let source: AWSCredentialSource
    private let services: SystemServices
    let name = "AWS Secrets Manager"

    init(_ parameters: Parameters, _ services: SystemServices) throws(SystemError) {
        let environment = services.environment
        guard
            let region = parameters.string("region") ?? environment["AWS_REGION"] ?? environment["AWS_DEFAULT_REGION"]
        else {
            throw SystemError(
                .misconfigured, "AWS Secrets Manager needs a region", advice: "set `region` or AWS_REGION")
        }
        self.region = region
        endpoint =
            parameters.string("endpoint") ?? environment["AWS_ENDPOINT_URL_SECRETS_MANAGER"]
            ?? environment["AWS_ENDPOINT_URL"] ?? "https://secretsmanager.\(region).amazonaws.com/"
        tls = TLSSettings(parameters)
        timeout = parameters.seconds("timeout") ?? 30
        source = try AWSCredentialSource(
            parameters.map("credentials"), services.forAWS(region: region, tls: tls, timeout: timeout))
        self.services = services
    }

    private struct Refusal: Decodable {
        let __type: String?
    }

    /// - Parameter mayRepeat: whether it may reach the service twice: false for what is refused the second time because the
    ///   first changed what it names.
    func call<Question: Encodable, Answer: Decodable>(
        _ operation: String, _ question: Question, as type: Answer.Type, mayRepeat: Bool = true
    ) async throws(SystemError) -> Answer {
        let credentials = try await source.credentials()
        var request = HTTPRequest("POST", endpoint, body: try JSONBody.encode(question), tls: tls)
        request.timeouts.total = .seconds(timeout)
        request.mayRepeat = mayRepeat
        request.set("Content-Type", "application/x-amz-json-1.1")
        request.set("X-Amz-Target", "secretsmanager.\(operation)")
        let response: HTTPResponse
        do throws(HTTPError) {
            let signed = try SigV4(credentials: credentials, region: region, service: "secretsmanager").sign(
                request, at: services.time.now())
            response = try await services.http.execute(signed)
        } catch { throw SystemError(error, from: name) }
        guard response.isSuccess else { throw refusal(response) }
        guard let answer = response.decodeJSON(type) else {
            throw SystemError(.badAnswer, "\(name): the answer is not what it should be", mayHaveTakenEffect: true)
        }
        return answer
    }

    private func refusal(_ response: HTTPResponse) -> SystemError {
        let now = services.time.now()
        let general = SystemError(status: response.status, of: response, from: name, now: now)
        let word = response.decodeJSON(Refusal.self)?.__type ?? response.headers.first("x-amzn-errortype") ?? ""
        // `prefix#Code` in the body, `Code:address` in the header.
        let code = word.split(separator: "#").last.map(String.init)?.split(separator: ":").first.map(String.init) ?? ""
        switch code {
        case "ResourceNotFoundException": return SystemError(.notFound, "\(name): there is no such secret or version")
        case "ResourceExistsException":
            return SystemError(.conflict, "\(name): the secret or version exists with another value")
        case "AccessDeniedException", "AccessDenied":
            return SystemError(
                .forbidden, "\(name): the call is denied", advice: "give Keyturn's credential the right to it")
        case "UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException",
            "InvalidClientTokenId", "SignatureDoesNotMatch", "MissingAuthenticationTokenException",
            "IncompleteSignatureException":
            return SystemError(
                .unauthorized, "\(name): our credential is refused", advice: "check it, and the machine's clock")
        case "ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded":
            return SystemError(.rateLimited, "\(name) asks to slow down", retryAfter: general.retryAfter)
        case "LimitExceededException": return SystemError(.limitExceeded, "\(name): a quota is used up")
        case "InvalidRequestException":
            return SystemError(
                .badRequest, "\(name): the secret's state does not allow it", advice: "see whether it is to be deleted")
        case "InvalidParameterException": return SystemError(.badRequest, "\(name): a parameter is refused")
        case "DecryptionFailure", "EncryptionFailure":
            return SystemError(.forbidden, "\(name): the KMS key can't be used", advice: "check its state and policy")
        case "InternalServiceError", "InternalFailure":
            return SystemError(.unavailable, "\(name) is in trouble", mayHaveTakenEffect: true)
        default: break
        }
        // Some servers refuse a signature in XML, whatever the service speaks.
        if response.status == 403 || response.status == 401 {
            return SystemError(
                .unauthorized, "\(name): our credential is refused (HTTP \(response.status))",
                advice: "check it, its rights, and the machine's clock")
        }
        return general
    }
}
