import Foundation
package import KeyturnCore

/// What AWS requests are signed with.
package struct AWSCredentials: Sendable {
    package let accessKeyID: String
    package let secretAccessKey: SecretValue
    package let sessionToken: SecretValue?

    package init(accessKeyID: String, secretAccessKey: SecretValue, sessionToken: SecretValue? = nil) {
        self.accessKeyID = accessKeyID
        self.secretAccessKey = secretAccessKey
        self.sessionToken = sessionToken
    }
}

/// Where AWS credentials come from: references in keyturn.yaml, the environment, or the shared credentials file.
///
/// They are read anew for each call, so that rotated ones are picked up.
package struct AWSCredentialSource: Sendable {
    private let accessKeyID: SecretReference?
    private let secretAccessKey: SecretReference?
    private let sessionToken: SecretReference?
    private let profile: String?
    private let environment: [String: String]
    private let secrets: any SecretResolver

    /// The parameters that every AWS system takes under `credentials`.
    package static let schema = ParameterSchema([
        ParameterField("accessKeyId", .secret, "Reference to the access key id."),
        ParameterField("secretAccessKey", .secret, "Reference to the secret access key."),
        ParameterField("sessionToken", .secret, "Reference to a session token, for temporary credentials."),
        ParameterField("profile", .string(), "Profile in the shared credentials file."),
    ]) { parameters, _ in
        switch (parameters["accessKeyId"], parameters["secretAccessKey"], parameters["sessionToken"]) {
        case (_?, nil, _): [ParameterProblem(path: ["accessKeyId"], message: "'accessKeyId' needs 'secretAccessKey'")]
        case (nil, _?, _):
            [ParameterProblem(path: ["secretAccessKey"], message: "'secretAccessKey' needs 'accessKeyId'")]
        case (nil, nil, _?):
            [
                ParameterProblem(
                    path: ["sessionToken"], message: "'sessionToken' needs 'accessKeyId' and 'secretAccessKey'")
            ]
        default: []
        }
    }

    /// - Parameter parameters: the map under `credentials`; `nil` means environment, then shared file.
    package init(
        _ parameters: Parameters?, environment: [String: String], secrets: any SecretResolver
    ) throws(SystemError) {
        accessKeyID = parameters?.secret("accessKeyId")
        secretAccessKey = parameters?.secret("secretAccessKey")
        sessionToken = parameters?.secret("sessionToken")
        profile = parameters?.string("profile")
        self.environment = environment
        self.secrets = secrets
        guard (accessKeyID == nil) == (secretAccessKey == nil) else {
            throw SystemError(
                .misconfigured, "credentials need both accessKeyId and secretAccessKey, or neither of them")
        }
    }

    /// - Throws: `misconfigured` when there are none.
    package func credentials() async throws(SystemError) -> AWSCredentials {
        if let accessKeyID, let secretAccessKey {
            guard let id = try await secrets.resolve(accessKeyID).exposedText() else {
                throw SystemError(.misconfigured, "the AWS access key id is not text")
            }
            var token: SecretValue?
            if let sessionToken { token = try await secrets.resolve(sessionToken) }
            return AWSCredentials(
                accessKeyID: id, secretAccessKey: try await secrets.resolve(secretAccessKey), sessionToken: token)
        }
        // A profile that is named explicitly goes before the environment, as in the vendor's own tools.
        if profile == nil, let id = environment["AWS_ACCESS_KEY_ID"], let key = environment["AWS_SECRET_ACCESS_KEY"],
            !id.isEmpty, !key.isEmpty
        {
            return AWSCredentials(
                accessKeyID: id, secretAccessKey: SecretValue(utf8: key),
                sessionToken: environment["AWS_SESSION_TOKEN"].map { SecretValue(utf8: $0) })
        }
        return try shared()
    }

    private func shared() throws(SystemError) -> AWSCredentials {
        let path =
            environment["AWS_SHARED_CREDENTIALS_FILE"] ?? (environment["HOME"] ?? "") + "/.aws/credentials"
        let name = profile ?? environment["AWS_PROFILE"] ?? "default"
        guard let data = FileManager.default.contents(atPath: path), let text = String(data: data, encoding: .utf8)
        else {
            throw SystemError(
                .misconfigured, "no AWS credentials: none in the environment, and \(path) can't be read",
                advice: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give references under `credentials`")
        }
        guard let section = SharedCredentialsFile.sections(text)[name], let id = section["aws_access_key_id"],
            let key = section["aws_secret_access_key"]
        else { throw SystemError(.misconfigured, "profile '\(name)' in \(path) has no access key") }
        return AWSCredentials(
            accessKeyID: id, secretAccessKey: SecretValue(utf8: key),
            sessionToken: section["aws_session_token"].map { SecretValue(utf8: $0) })
    }
}

/// The INI form of the shared credentials file.
package enum SharedCredentialsFile {
    package static func sections(_ text: String) -> [String: [String: String]] {
        var sections: [String: [String: String]] = [:]
        var current: String?
        for line in text.split(whereSeparator: \.isNewline) {
            let trimmed = line.trimmingCharacters(in: .whitespaces)
            if trimmed.isEmpty || trimmed.hasPrefix("#") || trimmed.hasPrefix(";") { continue }
            if trimmed.hasPrefix("["), let end = trimmed.firstIndex(of: "]") {
                current = trimmed[trimmed.index(after: trimmed.startIndex)..<end].trimmingCharacters(in: .whitespaces)
            } else if let current, let equals = trimmed.firstIndex(of: "=") {
                let name = trimmed[..<equals].trimmingCharacters(in: .whitespaces).lowercased()
                let value = trimmed[trimmed.index(after: equals)...].trimmingCharacters(in: .whitespaces)
                sections[current, default: [:]][name] = value
            }
        }
        return sections
    }
}
