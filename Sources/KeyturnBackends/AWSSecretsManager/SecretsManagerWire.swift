// Members are named as the service names them.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import Foundation
import KeyturnCore

/// Questions and answers of AWS Secrets Manager, with the service's own member names. Source: the API reference,
/// 2017-10-17.
enum SecretsManagerWire {
    static let service = AWSJSONClient.Service(
        name: "AWS Secrets Manager", code: "secretsmanager", target: "secretsmanager",
        endpointVariable: "AWS_ENDPOINT_URL_SECRETS_MANAGER",
        refusals: [
            "ResourceNotFoundException": .init(code: .notFound, words: "there is no such secret or version"),
            "ResourceExistsException": .init(
                code: .conflict, words: "the secret or version exists with another value"),
            "InvalidRequestException": .init(
                code: .badRequest, words: "the secret's state does not allow it",
                advice: "see whether it is to be deleted"),
            "InvalidParameterException": .init(code: .badRequest, words: "a parameter is refused"),
            "DecryptionFailure": noKey, "EncryptionFailure": noKey,
        ])

    private static let noKey = AWSJSONClient.Refusal(
        code: .forbidden, words: "the KMS key can't be used", advice: "check its state and policy")

    struct Named: Encodable { let SecretId: String }

    struct GetValue: Encodable {
        let SecretId: String
        var VersionId: String?
        var VersionStage: String?
    }

    struct Value: Decodable {
        let SecretString: String?
        let SecretBinary: Data?
    }

    struct Tag: Encodable {
        let Key: String
        let Value: String
    }

    struct Create: Encodable {
        let Name: String
        let Description: String
        let KmsKeyId: String?
        let Tags: [Tag]
    }

    struct PutValue: Encodable {
        let SecretId: String
        let ClientRequestToken: String
        let SecretString: String
        let VersionStages: [String]
    }

    struct UpdateStage: Encodable {
        let SecretId: String
        let VersionStage: String
        let MoveToVersionId: String?
        let RemoveFromVersionId: String?
    }

    struct Described: Decodable {
        var VersionIdsToStages: [String: [String]]?
        var RotationEnabled: Bool?
        var OwningService: String?
        var DeletedDate: Double?

        /// The version that carries a label.
        func versionHolding(_ label: String) -> String? {
            VersionIdsToStages?.first { $0.value.contains(label) }?.key
        }
    }

    struct Empty: Decodable {}
}
