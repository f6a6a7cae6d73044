// Members of answers are named as the services name them.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

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

    private struct Answer: Decodable {
        /// Of an instance: whether the role's credentials are good.
        let Code: String?
        let AccessKeyId: String
        let SecretAccessKey: String
        let Token: String
        let Expiration: String
    }
}

extension TemporaryAWSCredentials {
    /// What the agent of a container and the metadata service of an instance answer.
    init(_ response: HTTPResponse, from name: String) throws(SystemError) {
        guard let answer = response.decodeJSON(Answer.self), answer.Code == nil || answer.Code == "Success",
            let expiresAt = RFC3339.parse(answer.Expiration)
        else { throw SystemError(.badAnswer, "\(name): the answer holds no credentials") }
        credentials = AWSCredentials(
            accessKeyID: answer.AccessKeyId, secretAccessKey: SecretValue(utf8: answer.SecretAccessKey),
            sessionToken: SecretValue(utf8: answer.Token))
        self.expiresAt = expiresAt
    }
}
