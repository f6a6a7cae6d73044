package import KeyturnCore

/// An answer of a Google API that says no, or that did not come.
package struct GoogleRefusal: Error {
    /// Google's word for it, such as `FAILED_PRECONDITION`; empty when there was none.
    package let status: String
    package let error: SystemError

    package init(status: String, error: SystemError) {
        self.status = status
        self.error = error
    }
}

/// Calls one of Google's JSON APIs with an access token.
///
/// Source: "Errors", google.aip.dev/193 and google/rpc/code.proto.
package struct GoogleClient: Sendable {
    /// How errors name the system.
    package let name: String
    private let address: String
    private let client: BearerClient
    private let tls: TLSSettings
    private let timeout: Int
    private let time: any Timekeeper

    /// - Parameters:
    ///   - address: without a slash at its end.
    ///   - timeout: seconds that one request may take.
    package init(
        _ name: String, address: String, tokens: AccessTokenCache, http: HTTPClient, tls: TLSSettings, timeout: Int,
        time: any Timekeeper
    ) {
        self.name = name
        self.address = address
        client = BearerClient(tokens: tokens, http: http, system: name)
        self.tls = tls
        self.timeout = timeout
        self.time = time
    }

    /// Asks, and reads the answer.
    ///
    /// - Parameters:
    ///   - path: below the address, with its query.
    ///   - mayRepeat: whether the request may reach the service twice.
    /// - Throws: ``GoogleRefusal``.
    package func call<Answer: Decodable>(
        _ method: String, _ path: String, body: SecretValue? = nil, mayRepeat: Bool = true, as type: Answer.Type
    ) async throws(GoogleRefusal) -> Answer {
        var request = HTTPRequest(method, address + path, body: body, tls: tls)
        request.timeouts.total = .seconds(timeout)
        request.mayRepeat = mayRepeat
        if body != nil { request.set("Content-Type", "application/json") }
        let response: HTTPResponse
        do throws(SystemError) { response = try await client.send(request) } catch {
            throw GoogleRefusal(status: "", error: error)
        }
        guard response.isSuccess else { throw refusal(response) }
        guard let answer = response.decodeJSON(type) else {
            throw GoogleRefusal(
                status: "",
                error: SystemError(
                    .badAnswer, "\(name): the answer is not what it should be", mayHaveTakenEffect: method != "GET"))
        }
        return answer
    }

    private struct Wire: Decodable {
        struct Detail: Decodable {
            struct Violation: Decodable { let type: String? }
            let reason: String?
            let violations: [Violation]?
        }
        struct Body: Decodable {
            let status: String?
            let details: [Detail]?
        }
        let error: Body?
    }

    private func refusal(_ response: HTTPResponse) -> GoogleRefusal {
        let body = response.decodeJSON(Wire.self)?.error
        let status = body?.status.flatMap { Self.statuses.contains($0) ? $0 : nil } ?? ""
        let details = body?.details ?? []
        let general = SystemError(status: response.status, of: response, from: name, now: time.now())
        func told(
            _ code: SystemError.Code, _ words: String, _ advice: String = "",
            _ disposition: SystemError.Disposition? = nil
        ) -> GoogleRefusal {
            GoogleRefusal(
                status: status,
                error: SystemError(
                    code, "\(name): \(words) (HTTP \(response.status))", advice: advice, disposition: disposition,
                    mayHaveTakenEffect: general.mayHaveTakenEffect, retryAfter: general.retryAfter))
        }
        if details.contains(where: { $0.reason == "SERVICE_DISABLED" }) {
            return told(
                .misconfigured, "the API is not enabled in the project",
                "enable it with `gcloud services enable`, and wait some minutes")
        }
        if let policy = details.lazy.compactMap({ $0.violations?.first?.type }).first(where: {
            Self.constraints.contains($0)
        }) {
            return told(
                .forbidden, "a policy of the organization, \(policy), does not allow it",
                "ask who keeps the organization's policies")
        }
        switch status {
        case "UNAUTHENTICATED": return told(.unauthorized, "a fresh token is refused", "check the login")
        case "PERMISSION_DENIED":
            return told(
                .forbidden, "our account lacks the right",
                "see deploy/rights for what Keyturn needs; new rights take some minutes")
        case "NOT_FOUND": return told(.notFound, "there is no such thing")
        case "ALREADY_EXISTS": return told(.conflict, "it is there already")
        case "ABORTED":
            return told(.conflict, "somebody else changed it at the same moment", "", .passing)
        case "FAILED_PRECONDITION": return told(.badRequest, "its state does not allow it")
        case "RESOURCE_EXHAUSTED": return told(.rateLimited, "it asks to slow down, or a quota is used up")
        default: return GoogleRefusal(status: status, error: general)
        }
    }

    /// Only words that are known are repeated anywhere.
    private static let statuses: Set<String> = [
        "UNAUTHENTICATED", "PERMISSION_DENIED", "NOT_FOUND", "ALREADY_EXISTS", "ABORTED", "FAILED_PRECONDITION",
        "RESOURCE_EXHAUSTED", "INVALID_ARGUMENT", "UNAVAILABLE", "INTERNAL", "DEADLINE_EXCEEDED", "CANCELLED",
    ]

    private static let constraints: Set<String> = [
        "constraints/iam.disableServiceAccountKeyCreation", "constraints/iam.disableServiceAccountKeyUpload",
        "constraints/iam.managed.disableServiceAccountKeyCreation",
        "constraints/iam.managed.disableServiceAccountKeyUpload", "constraints/iam.serviceAccountKeyExpiryHours",
    ]
}
