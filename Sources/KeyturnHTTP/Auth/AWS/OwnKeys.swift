import Foundation
import KeyturnCore

/// Access keys that lie in references, in the environment or in the shared credentials file; read anew each time.
struct OwnKeys: Sendable {
    let environment: [String: String]
    let secrets: any SecretResolver

    func referred(
        _ id: SecretReference, _ key: SecretReference, _ token: SecretReference?
    ) async throws(SystemError) -> AWSCredentials {
        guard let id = try await secrets.resolve(id).exposedText() else {
            throw SystemError(.misconfigured, "the AWS access key id is not text")
        }
        var session: SecretValue?
        if let token { session = try await secrets.resolve(token) }
        return AWSCredentials(
            accessKeyID: id, secretAccessKey: try await secrets.resolve(key), sessionToken: session)
    }

    var hasKeyInEnvironment: Bool { ofEnvironment != nil }

    private var ofEnvironment: AWSCredentials? {
        guard let id = environment["AWS_ACCESS_KEY_ID"], let key = environment["AWS_SECRET_ACCESS_KEY"], !id.isEmpty,
            !key.isEmpty
        else { return nil }
        return AWSCredentials(
            accessKeyID: id, secretAccessKey: SecretValue(utf8: key),
            sessionToken: environment["AWS_SESSION_TOKEN"].map { SecretValue(utf8: $0) })
    }

    /// - Returns: `nil` where there is neither, and no profile is named.
    func ofEnvironmentOrFile() throws(SystemError) -> AWSCredentials? {
        if let ofEnvironment { return ofEnvironment }
        let named = environment["AWS_PROFILE"].flatMap { $0.isEmpty ? nil : $0 }
        if named == nil, sections?["default"] == nil { return nil }
        return try shared(named ?? "default")
    }

    /// A profile of the shared credentials file.
    func shared(_ profile: String) throws(SystemError) -> AWSCredentials {
        guard let sections else { throw nothing("") }
        guard let section = sections[profile], let id = section["aws_access_key_id"],
            let key = section["aws_secret_access_key"]
        else { throw SystemError(.misconfigured, "profile '\(profile)' in \(path) has no access key") }
        return AWSCredentials(
            accessKeyID: id, secretAccessKey: SecretValue(utf8: key),
            sessionToken: section["aws_session_token"].map { SecretValue(utf8: $0) })
    }

    func nothing(_ more: String) -> SystemError {
        SystemError(
            .misconfigured, "no AWS credentials: none in the environment, and \(path) has none\(more)",
            advice: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give references under `credentials`")
    }

    private var path: String {
        environment["AWS_SHARED_CREDENTIALS_FILE"] ?? (environment["HOME"] ?? "") + "/.aws/credentials"
    }

    private var sections: [String: [String: String]]? {
        FileManager.default.contents(atPath: path).flatMap { String(data: $0, encoding: .utf8) }
            .map(SharedCredentialsFile.sections)
    }
}
