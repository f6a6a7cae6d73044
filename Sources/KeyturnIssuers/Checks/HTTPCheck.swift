package import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

/// Sends a request with the new key in a header, and looks at the status.
package struct HTTPCheck: KeyVerifier {
    private let url: String
    private let method: String
    private let header: String
    private let template: ValueTemplate
    private let expected: [Int]
    private let timeout: Int
    private let tls: TLSSettings
    private let services: SystemServices

    init(_ parameters: Parameters, _ services: SystemServices) throws(SystemError) {
        url = parameters.string("url") ?? ""
        method = parameters.string("method") ?? "GET"
        header = parameters.string("header") ?? "Authorization"
        do throws(InvalidTemplate) {
            template = try ValueTemplate(parameters.string("value") ?? "Bearer {{value}}")
        } catch {
            throw SystemError(.misconfigured, "the value of an http check: \(error)")
        }
        let statuses = parameters.list("status")?.compactMap {
            if case .integer(let status) = $0 { status } else { nil }
        }
        expected = statuses ?? [200, 204]
        timeout = parameters.seconds("timeout") ?? 10
        tls = TLSSettings(parameters)
        self.services = services
    }

    package func verify(_ key: KeyHandle) async throws(SystemError) -> KeyCheck {
        guard let material = key.material else { return .cannotTell }
        var request = HTTPRequest(method, url, tls: tls)
        request.timeouts.total = .seconds(timeout)
        do throws(InvalidTemplate) { request.set(header, try template.render(material)) } catch {
            throw SystemError(.misconfigured, "the value of an http check: \(error)")
        }
        let response: HTTPResponse
        do throws(HTTPError) { response = try await services.http.execute(request) } catch {
            throw SystemError(error, from: "the http check")
        }
        if expected.contains(response.status) { return .works }
        // A key that is new may not be known everywhere yet.
        if response.status == 401 || response.status == 403 {
            return .notYet("the http check was answered with HTTP \(response.status)")
        }
        let error = SystemError(
            status: response.status, of: response, from: "the http check", now: services.time.now())
        if error.disposition == .passing { throw error }
        return .refused("the http check was answered with HTTP \(response.status)")
    }

    static let type = CheckType(
        description: CheckDescription(
            type: "http", summary: "A request with the new key in a header.",
            parameters: ParameterSchema([
                ParameterField("url", .url, required: true, "Where it is sent."),
                ParameterField("method", .choice(["GET", "HEAD", "POST"]), default: .string("GET"), "How."),
                ParameterField(
                    "header", .string(), default: .string("Authorization"), "The header that holds the key."),
                ParameterField(
                    "value", .string(), default: .string("Bearer {{value}}"), "The header's value, as a template."),
                ParameterField(
                    "status", .list(of: .integer(100...599), minimumCount: 1),
                    "Statuses that mean yes; 200 and 204 when absent."),
                ParameterField("timeout", .duration(1...120), default: .integer(10), "How long it may take."),
                TLSSettings.caFile, TLSSettings.allowInsecure,
            ]) { parameters, _ in
                do throws(InvalidTemplate) {
                    _ = try ValueTemplate(parameters.string("value") ?? "")
                    return []
                } catch { return [ParameterProblem(path: ["value"], message: "'value': \(error.reason)")] }
            })
    ) { (parameters, services) throws(SystemError) in try HTTPCheck(parameters, services) }
}
