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

/// Credentials that end, as AWS gives them out for a role.
struct TemporaryAWSCredentials: Sendable {
    let credentials: AWSCredentials
    let expiresAt: Date

    /// How long they last from now on, as ``CredentialCache`` takes it.
    func grant(at now: Date) -> CredentialCache<AWSCredentials>.Grant {
        (credentials, expiresAt.timeIntervalSince(now))
    }
}
