import Foundation
import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

/// Calls the API server. Sources: https://kubernetes.io/docs/reference/using-api/api-concepts/ and server-side-apply/
struct KubernetesClient: Sendable {
    private let login: KubernetesLogin
    private let timeout: Int
    private let services: SystemServices
    let name = "Kubernetes"

    init(_ parameters: Parameters, _ services: SystemServices) throws(SystemError) {
        login = try KubernetesLogin(parameters, environment: services.environment)
        timeout = parameters.seconds("timeout") ?? 30
        self.services = services
    }

    func connection() throws(SystemError) -> KubernetesConnection { try login.connection() }

    /// - Parameter mayBeMissing: whether 404 is an answer rather than a failure.
    func call(
        _ method: String, _ path: String, body: SecretValue? = nil, type: String = "application/json",
        over connection: KubernetesConnection, mayBeMissing: Bool = false
    ) async throws(SystemError) -> HTTPResponse {
        var request = HTTPRequest(
            method, "\(RequestAddress.base(connection.server))\(path)", body: body, tls: connection.tls)
        request.timeouts.total = .seconds(timeout)
        request.set("Accept", "application/json")
        if body != nil { request.set("Content-Type", type) }
        if let token = connection.token {
            request.set("Authorization", token.withUnsafeBytes { SecretValue(Array("Bearer ".utf8) + Array($0)) })
        }
        let response: HTTPResponse
        do throws(HTTPError) { response = try await services.http.execute(request) } catch {
            throw SystemError(error, from: name)
        }
        if response.isSuccess { return response }
        let status = response.decodeJSON(KubernetesWire.Status.self)
        // Anything else that answers 404 is no API server.
        if mayBeMissing, response.status == 404, status?.kind == "Status", status?.details?.kind != "namespaces" {
            return response
        }
        throw refusal(response, status)
    }

    private func refusal(_ response: HTTPResponse, _ status: KubernetesWire.Status?) -> SystemError {
        if response.status == 409 {
            let isOwned = status?.details?.causes?.contains { $0.reason == "FieldManagerConflict" } == true
            return isOwned
                ? SystemError(
                    .conflict, "\(name): the key belongs to another field manager (HTTP 409)",
                    advice: "see who applies it; `overwrite: true` at the backend in the policy takes it over")
                : SystemError(
                    .conflict, "\(name): the Secret changed while it was being written (HTTP 409)",
                    disposition: .passing)
        }
        let advice =
            switch response.status {
            case 401: "check the token or certificate; the API server does not know it"
            case 403: "give Keyturn's account the rights in deploy/rights/kubernetes-secret.yaml"
            case 404 where status?.details?.kind == "namespaces": "there is no such namespace; make it first"
            case 404: "see whether `server` in the kubeconfig is an API server's address"
            case 413, 422: "see whether the Secret is immutable, its names are allowed, and it is below 1 MiB"
            default: ""
            }
        return SystemError(
            status: response.status, of: response, from: name, now: services.time.now(), advice: advice)
    }
}
