import Foundation
import KeyturnCore

/// Credentials of the role of an EC2 instance, by version 2 of its metadata service, whose answers need a token that no
/// forwarded request can get. Version 1 is not asked.
///
/// Source: "Use the Instance Metadata Service to access instance metadata", docs.aws.amazon.com/AWSEC2.
struct AWSInstanceCredentials: Sendable {
    private let address: String
    private let http: HTTPClient
    private let time: any Timekeeper

    private static let name = "AWS instance metadata"
    private static let roles = "/latest/meta-data/iam/security-credentials/"

    /// - Returns: `nil` where `AWS_EC2_METADATA_DISABLED` is `true`.
    init?(environment: [String: String], http: HTTPClient, time: any Timekeeper) {
        guard environment["AWS_EC2_METADATA_DISABLED"]?.lowercased() != "true" else { return nil }
        let isSix = environment["AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE"]?.lowercased() == "ipv6"
        let own = environment["AWS_EC2_METADATA_SERVICE_ENDPOINT"].flatMap { $0.isEmpty ? nil : $0 }
        address = RequestAddress.base(own ?? (isSix ? "http://[fd00:ec2::254]" : "http://169.254.169.254"))
        self.http = http
        self.time = time
    }

    func credentials() async throws(SystemError) -> TemporaryAWSCredentials {
        let token = try await send("PUT", "/latest/api/token", ("x-aws-ec2-metadata-token-ttl-seconds", nil)).body
        let list = try await send("GET", Self.roles, ("x-aws-ec2-metadata-token", token))
        let names = list.body.exposedText()?.split(whereSeparator: \.isNewline).map(String.init) ?? []
        guard let role = names.first, names.count == 1, role.utf8.allSatisfy(Self.isPartOfName) else {
            throw SystemError(
                .badAnswer, "\(Self.name): the instance has no role", advice: "give it an instance profile",
                disposition: .permanent)
        }
        let response = try await send("GET", Self.roles + role, ("x-aws-ec2-metadata-token", token))
        return try TemporaryAWSCredentials(response, from: Self.name)
    }

    /// - Parameter header: its value is the life that the token is asked for where there is none.
    private func send(
        _ method: String, _ path: String, _ header: (name: String, value: SecretValue?)
    ) async throws(SystemError) -> HTTPResponse {
        var request = HTTPRequest(method, address + path)
        if let value = header.value { request.set(header.name, value) } else { request.set(header.name, "300") }
        let host = (try? RequestAddress(address))?.host ?? ""
        // No other machine sees these addresses.
        request.tls.allowsInsecure = LinkLocal.contains(host) || host == "fd00:ec2::254"
        request.bypassesProxy = true
        // Elsewhere nothing answers there.
        request.timeouts.connect = .seconds(1)
        request.timeouts.total = .seconds(3)
        let response: HTTPResponse
        do throws(HTTPError) { response = try await http.execute(request) } catch {
            throw SystemError(error, from: Self.name).withoutEffect
        }
        guard response.isSuccess else {
            throw SystemError(status: response.status, of: response, from: Self.name, now: time.now()).withoutEffect
        }
        return response
    }

    private static func isPartOfName(_ byte: UInt8) -> Bool {
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+=,.@-".utf8.contains(byte)
    }
}
