import Foundation
package import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

/// Posts alerts as JSON, signed as Standard Webhooks asks for. The event's id stays the same over repeats.
package struct WebhookSink: AlertSink {
    private enum Address {
        case plain(String)
        /// An address that is itself a credential.
        case secret(SecretReference)
    }

    private let address: Address
    private let signingKeys: [SecretReference]
    private let tls: TLSSettings
    private let timeout: Int
    private let services: SystemServices

    init(_ parameters: Parameters, _ services: SystemServices) {
        address = parameters.secret("url").map(Address.secret) ?? .plain(parameters.string("url") ?? "")
        signingKeys = [parameters.secret("signingKey"), parameters.secret("nextSigningKey")].compactMap { $0 }
        tls = TLSSettings(parameters)
        timeout = parameters.seconds("timeout") ?? 20
        self.services = services
    }

    package func deliver(_ event: AlertEvent) async throws(SystemError) {
        let body = try AlertWire(event).encoded()
        var request = HTTPRequest("POST", try await url(), body: SecretValue(body), tls: tls)
        request.timeouts.total = .seconds(timeout)
        // Receivers fold repeats by the id.
        request.mayRepeat = true
        let timestamp = Int64(services.time.now().timeIntervalSince1970)
        request.set("Content-Type", "application/json")
        request.set("webhook-id", event.id)
        request.set("webhook-timestamp", String(timestamp))
        let signatures = try await signatures().map { $0.sign(id: event.id, timestamp: timestamp, body: body) }
        if !signatures.isEmpty { request.set("webhook-signature", signatures.joined(separator: " ")) }
        let response: HTTPResponse
        do throws(HTTPError) { response = try await services.http.execute(request) } catch {
            // The address may be a secret: its host is not named.
            if case .secret = address, !error.mayHaveReachedServer {
                throw SystemError(.unreachable, "the webhook can't be reached")
            }
            throw SystemError(error, from: "the webhook")
        }
        guard response.isSuccess else {
            throw SystemError(status: response.status, of: response, from: "the webhook", now: services.time.now())
        }
    }

    package func probe() async throws(SystemError) {
        let url = try await url()
        do throws(HTTPError) { _ = try RequestAddress(url) } catch {
            throw SystemError(.misconfigured, "the webhook's address can't be used")
        }
        _ = try await signatures()
    }

    private func signatures() async throws(SystemError) -> [WebhookSignature] {
        var signatures: [WebhookSignature] = []
        for reference in signingKeys {
            signatures.append(try WebhookSignature(secret: try await services.secrets.resolve(reference)))
        }
        return signatures
    }

    private func url() async throws(SystemError) -> String {
        switch address {
        case .plain(let url): return url
        case .secret(let reference):
            guard let url = try await services.secrets.resolve(reference).exposedText() else {
                throw SystemError(.misconfigured, "the webhook's address is not text")
            }
            return url
        }
    }

    static let type = AlertType(
        description: AlertDescription(
            type: "webhook", summary: "JSON posted to an address, with Standard Webhooks signatures.",
            configuration: ParameterSchema([
                ParameterField(
                    "url", .either([.url, .secret]), required: true, "Where it is posted; may be a reference."),
                ParameterField("signingKey", .secret, "Reference to the signing key: whsec_ and base64."),
                ParameterField("nextSigningKey", .secret, "A second key, while receivers change over."),
                ParameterField("timeout", .duration(1...60), default: .integer(20), "How long one try may take."),
                TLSSettings.caFile, TLSSettings.allowInsecure,
            ]))
    ) { _, parameters, services in WebhookSink(parameters, services) }
}
