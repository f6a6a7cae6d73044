// Members are named as the service names them.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import Foundation
import KeyturnCore

/// Tokens of the service account that Google gives to a machine, a pod or a function. No proxy sees the request.
///
/// Source: "View and query VM metadata" and "Authenticate workloads with service accounts", cloud.google.com/compute/docs.
struct GoogleMetadataServer: Sendable {
    private let address: String
    private let account: String
    private let http: HTTPClient
    private let timeout: Int
    private let time: any Timekeeper

    private static let name = "Google's metadata server"
    /// A name that leads to 169.254.169.254, which no other machine sees.
    private static let usual = "metadata.google.internal"
    private static let flavor = (name: "Metadata-Flavor", value: "Google")

    /// - Parameters:
    ///   - account: an e-mail address, or `default`.
    ///   - endpoint: another server, for tests.
    init(
        account: String?, endpoint: String?, environment: [String: String], http: HTTPClient, timeout: Int,
        time: any Timekeeper
    ) {
        let own = environment["GCE_METADATA_HOST"].flatMap { $0.isEmpty ? nil : "http://\($0)" }
        address = RequestAddress.base(endpoint ?? own ?? "http://\(Self.usual)")
        self.account = account ?? "default"
        self.http = http
        self.timeout = timeout
        self.time = time
    }

    private struct Granted: Decodable {
        let access_token: String
        let expires_in: LooseNumber
    }

    func logIn() async throws(SystemError) -> AccessToken {
        var request = HTTPRequest(
            "GET",
            "\(address)/computeMetadata/v1/instance/service-accounts/\(FormBody.escape(account))/token")
        request.set(Self.flavor.name, Self.flavor.value)
        request.bypassesProxy = true
        request.timeouts.total = .seconds(timeout)
        request.timeouts.connect = .seconds(min(5, timeout))
        let host = (try? RequestAddress(request.url))?.host ?? ""
        if host == Self.usual || LinkLocal.contains(host) { request.tls.allowsInsecure = true }
        let response: HTTPResponse
        do throws(HTTPError) { response = try await http.execute(request) } catch {
            let error = SystemError(error, from: Self.name)
            throw SystemError(
                error.code, error.message,
                advice: "see whether this machine has a service account, or set GOOGLE_APPLICATION_CREDENTIALS",
                disposition: error.disposition)
        }
        // Whoever else answers under that name is not asked for anything more.
        guard response.headers.first(Self.flavor.name) == Self.flavor.value else {
            throw SystemError(
                .badAnswer, "\(Self.name): the answer is not Google's", advice: "see who answers at \(host)",
                disposition: .permanent)
        }
        guard response.isSuccess else {
            let advice = response.status == 404 ? "give this machine a service account, or check `account`" : ""
            throw SystemError(
                status: response.status, of: response, from: Self.name, now: time.now(), advice: advice
            ).withoutEffect
        }
        guard let granted = response.decodeJSON(Granted.self), !granted.access_token.isEmpty else {
            throw SystemError(.badAnswer, "\(Self.name): the answer holds no token")
        }
        return AccessToken(value: SecretValue(utf8: granted.access_token), lifetime: granted.expires_in.value)
    }
}
