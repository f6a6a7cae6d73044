// Members are named as the services name them.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import Foundation
import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

/// Calls an AWS service that speaks JSON, one operation a request.
///
/// Source: the protocol AWS JSON 1.1, https://smithy.io/2.0/aws/protocols/aws-json-1_1-protocol.html
struct AWSJSONClient: Sendable {
    /// What differs from service to service.
    struct Service: Sendable {
        /// How errors name it.
        let name: String
        /// Its name in signatures and addresses.
        let code: String
        /// What stands before an operation's name.
        let target: String
        /// The environment variable that names another server.
        let endpointVariable: String
        /// What its own error words mean; the common ones are known.
        let refusals: [String: Refusal]
    }

    struct Refusal: Sendable {
        let code: SystemError.Code
        let words: String
        var advice = ""
    }

    private let service: Service
    private let endpoint: String
    private let region: String
    private let tls: TLSSettings
    private let timeout: Int
    private let source: AWSCredentialSource
    private let services: SystemServices

    var name: String { service.name }

    init(_ service: Service, _ parameters: Parameters, _ services: SystemServices) throws(SystemError) {
        let environment = services.environment
        guard
            let region = parameters.string("region") ?? environment["AWS_REGION"] ?? environment["AWS_DEFAULT_REGION"]
        else {
            throw SystemError(.misconfigured, "\(service.name) needs a region", advice: "set `region` or AWS_REGION")
        }
        self.service = service
        self.region = region
        // https://docs.aws.amazon.com/general/latest/gr/rande.html
        let domain = region.hasPrefix("cn-") ? "amazonaws.com.cn" : "amazonaws.com"
        endpoint =
            parameters.string("endpoint") ?? environment[service.endpointVariable] ?? environment["AWS_ENDPOINT_URL"]
            ?? "https://\(service.code).\(region).\(domain)/"
        tls = TLSSettings(parameters)
        timeout = parameters.seconds("timeout") ?? 30
        source = try AWSCredentialSource(
            parameters.map("credentials"), services.forAWS(region: region, tls: tls, timeout: timeout))
        self.services = services
    }

    private struct Answer: Decodable {
        let __type: String?
    }

    /// - Parameter mayRepeat: whether it may reach the service twice: false for what is refused the second time because the
    ///   first changed what it names, or what makes one thing more each time.
    func call<Question: Encodable, Value: Decodable>(
        _ operation: String, _ question: Question, as type: Value.Type, mayRepeat: Bool = true
    ) async throws(SystemError) -> Value {
        let credentials = try await source.credentials()
        var request = HTTPRequest("POST", endpoint, body: try JSONBody.encode(question), tls: tls)
        request.timeouts.total = .seconds(timeout)
        request.mayRepeat = mayRepeat
        request.set("Content-Type", "application/x-amz-json-1.1")
        request.set("X-Amz-Target", "\(service.target).\(operation)")
        let response: HTTPResponse
        do throws(HTTPError) {
            let signed = try SigV4(credentials: credentials, region: region, service: service.code).sign(
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
        let word = response.decodeJSON(Answer.self)?.__type ?? response.headers.first("x-amzn-errortype") ?? ""
        // `prefix#Code` in the body, `Code:address` in the header.
        let code = word.split(separator: "#").last.map(String.init)?.split(separator: ":").first.map(String.init) ?? ""
        if let known = service.refusals[code] ?? Self.common[code] {
            return SystemError(
                known.code, "\(name): \(known.words)", advice: known.advice,
                mayHaveTakenEffect: known.code == .unavailable,
                retryAfter: known.code == .rateLimited ? general.retryAfter : nil)
        }
        // Some servers refuse a signature in XML, whatever the service speaks.
        if response.status == 403 || response.status == 401 {
            return SystemError(
                .unauthorized, "\(name): our credential is refused (HTTP \(response.status))",
                advice: "check it, its rights, and the machine's clock")
        }
        return general
    }

    /// https://docs.aws.amazon.com/secretsmanager/latest/apireference/CommonErrors.html
    private static let common: [String: Refusal] = {
        let denied = Refusal(
            code: .forbidden, words: "the call is denied", advice: "give Keyturn's credential the right to it")
        let refused = Refusal(
            code: .unauthorized, words: "our credential is refused", advice: "check it, and the machine's clock")
        let slower = Refusal(code: .rateLimited, words: "it asks to slow down")
        let trouble = Refusal(code: .unavailable, words: "it is in trouble")
        var all = ["AccessDeniedException": denied, "AccessDenied": denied]
        for word in [
            "UnrecognizedClientException", "InvalidSignatureException", "ExpiredTokenException", "InvalidClientTokenId",
            "SignatureDoesNotMatch", "MissingAuthenticationTokenException", "IncompleteSignatureException",
        ] { all[word] = refused }
        for word in ["ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"] {
            all[word] = slower
        }
        for word in ["InternalServiceError", "InternalFailure", "InternalServerError", "ServiceUnavailable"] {
            all[word] = trouble
        }
        all["LimitExceededException"] = Refusal(code: .limitExceeded, words: "a quota is used up")
        return all
    }()
}

extension AWSJSONClient {
    /// What every service takes in keyturn.yaml.
    static let fields = [
        ParameterField("region", .string(), "The region; AWS_REGION when absent."),
        ParameterField("endpoint", .url, "Another server, for tests."),
        ParameterField(
            "credentials", .object(AWSCredentialSource.schema),
            "Keyturn's own credential; environment and shared file when absent."),
        ParameterField("timeout", .duration(1...300), default: .integer(30), "How long one request may take."),
        TLSSettings.caFile, TLSSettings.allowInsecure,
    ]

    /// A region may still come from the environment of the process that runs.
    @Sendable static func regionProblems(
        _ parameters: Parameters, _ environment: [String: String]
    ) -> [ParameterProblem] {
        let names = ["AWS_REGION", "AWS_DEFAULT_REGION"]
        guard parameters["region"] == nil, names.allSatisfy({ environment[$0] == nil }) else { return [] }
        return [
            ParameterProblem(
                path: [], message: "it has no 'region', and AWS_REGION is not set here; set it where Keyturn runs",
                isWarning: true)
        ]
    }
}
