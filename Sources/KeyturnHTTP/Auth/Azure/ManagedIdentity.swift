// Members are named as the service names them.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import Foundation
import KeyturnCore

/// Tokens of the identity that Azure gives to a machine or an app: from the instance metadata service of a virtual
/// machine, or from the endpoint that App Service and Container Apps name in the environment. No proxy sees the request.
///
/// Source: "How to use managed identities to get an access token" for virtual machines and for App Service,
/// learn.microsoft.com/entra and learn.microsoft.com/azure/app-service.
struct ManagedIdentity: Sendable {
    private enum Place {
        case metadata(String)
        case app(String, header: SecretValue)
    }

    private let place: Place
    private let clientID: String?
    private let http: HTTPClient
    private let timeout: Int
    private let time: any Timekeeper

    private static let name = "Azure managed identity"

    /// - Parameters:
    ///   - clientID: of an identity that the user assigned; `nil` for that of the machine.
    ///   - endpoint: another metadata service, for tests.
    init(
        clientID: String?, endpoint: String?, environment: [String: String], http: HTTPClient, timeout: Int,
        time: any Timekeeper
    ) throws(SystemError) {
        self.clientID = clientID
        self.http = http
        self.timeout = timeout
        self.time = time
        if endpoint == nil, let address = environment["IDENTITY_ENDPOINT"], !address.isEmpty {
            guard let header = environment["IDENTITY_HEADER"], !header.isEmpty,
                environment["IDENTITY_SERVER_THUMBPRINT"] == nil
            else {
                throw SystemError(
                    .unsupported, "\(Self.name): IDENTITY_ENDPOINT is that of Azure Arc or Service Fabric",
                    advice: "use a client secret or a federated token there")
            }
            place = .app(address, header: SecretValue(utf8: header))
        } else {
            let own = environment["AZURE_POD_IDENTITY_AUTHORITY_HOST"].flatMap { $0.isEmpty ? nil : $0 }
            place = .metadata(RequestAddress.base(endpoint ?? own ?? "http://169.254.169.254"))
        }
    }

    private struct Granted: Decodable {
        let access_token: String
        let expires_in: LooseNumber?
        let expires_on: LooseNumber?
    }

    func logIn(resource: String) async throws(SystemError) -> AccessToken {
        var query = "resource=\(FormBody.escape(resource))"
        if let clientID { query += "&client_id=\(FormBody.escape(clientID))" }
        var request: HTTPRequest
        switch place {
        case .metadata(let address):
            request = HTTPRequest(
                "GET", "\(address)/metadata/identity/oauth2/token?api-version=2018-02-01&\(query)")
            request.set("Metadata", "true")
        case .app(let address, let header):
            request = HTTPRequest(
                "GET", "\(address)\(address.contains("?") ? "&" : "?")api-version=2019-08-01&\(query)")
            request.set("X-IDENTITY-HEADER", header)
        }
        request.bypassesProxy = true
        request.timeouts.total = .seconds(timeout)
        request.timeouts.connect = .seconds(min(5, timeout))
        // The endpoint is a link-local or loopback address, which no other machine sees.
        let host = (try? RequestAddress(request.url))?.host ?? ""
        if LinkLocal.contains(host) { request.tls.allowsInsecure = true }
        let response: HTTPResponse
        do throws(HTTPError) { response = try await http.execute(request) } catch {
            let error = SystemError(error, from: Self.name)
            throw SystemError(
                error.code, error.message, advice: "see whether this machine has a managed identity",
                disposition: error.disposition)
        }
        guard response.isSuccess else { throw refusal(response) }
        guard let granted = response.decodeJSON(Granted.self), !granted.access_token.isEmpty else {
            throw SystemError(.badAnswer, "\(Self.name): the answer holds no token")
        }
        let lifetime =
            granted.expires_in?.value ?? granted.expires_on.map { $0.value - time.now().timeIntervalSince1970 } ?? 0
        return AccessToken(value: SecretValue(utf8: granted.access_token), lifetime: lifetime)
    }

    private func refusal(_ response: HTTPResponse) -> SystemError {
        switch response.status {
        case 400, 401, 403:
            return SystemError(
                .unauthorized, "\(Self.name): no identity is given out here (HTTP \(response.status))",
                advice: "assign one to this machine, or check `clientId`")
        // The service restarts, or is not up to date yet: its page says to ask again.
        case 404, 410:
            return SystemError(
                .unavailable, "\(Self.name): the service is not ready (HTTP \(response.status))",
                retryAfter: response.retryAfter(now: time.now()))
        default:
            return SystemError(status: response.status, of: response, from: Self.name, now: time.now()).withoutEffect
        }
    }
}
