import Foundation
import KeyturnCore

/// Credentials that ECS gives to a task, and EKS Pod Identity to a pod, at an address that the environment names.
///
/// Source: "Container credential provider" in the AWS SDKs and Tools Reference Guide, docs.aws.amazon.com/sdkref.
struct AWSContainerCredentials: Sendable {
    private let address: String
    private let authorization: Authorization?
    private let http: HTTPClient
    private let time: any Timekeeper

    private enum Authorization: Sendable {
        case text(SecretValue)
        case file(String)
    }

    private static let name = "AWS container credentials"
    /// Where plain HTTP is answered by the machine itself: the agents of ECS and EKS.
    private static let agents = ["169.254.170.2", "169.254.170.23", "fd00:ec2::23"]

    /// - Returns: `nil` where the environment names no address.
    init?(environment: [String: String], http: HTTPClient, time: any Timekeeper) {
        func variable(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
        if let path = variable("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
            address = "http://169.254.170.2\(path.hasPrefix("/") ? "" : "/")\(path)"
        } else if let full = variable("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
            address = full
        } else {
            return nil
        }
        authorization =
            variable("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE").map(Authorization.file)
            ?? variable("AWS_CONTAINER_AUTHORIZATION_TOKEN").map { .text(SecretValue(utf8: $0)) }
        self.http = http
        self.time = time
    }

    func credentials() async throws(SystemError) -> TemporaryAWSCredentials {
        var request = HTTPRequest("GET", address)
        let host: String
        do throws(HTTPError) {
            let parts = try RequestAddress(address)
            host = parts.host
            guard parts.scheme == "https" || Self.agents.contains(host) || parts.isLoopback else {
                throw .invalidRequest("its address is plain http to another machine")
            }
        } catch {
            throw SystemError(
                .misconfigured, "\(Self.name): \(error)", advice: "see AWS_CONTAINER_CREDENTIALS_FULL_URI")
        }
        switch authorization {
        case .text(let token): request.set("Authorization", token)
        case .file(let path): request.set("Authorization", try LaidDownToken.read(path, as: "the container's token"))
        case nil: break
        }
        request.tls.allowsInsecure = Self.agents.contains(host)
        request.bypassesProxy = true
        request.timeouts.connect = .seconds(2)
        request.timeouts.total = .seconds(5)
        let response: HTTPResponse
        do throws(HTTPError) { response = try await http.execute(request) } catch {
            throw SystemError(error, from: Self.name).withoutEffect
        }
        guard response.isSuccess else {
            throw SystemError(status: response.status, of: response, from: Self.name, now: time.now()).withoutEffect
        }
        return try TemporaryAWSCredentials(response, from: Self.name)
    }
}
