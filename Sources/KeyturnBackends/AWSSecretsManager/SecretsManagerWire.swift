// Members are named as the service names them.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import Foundation

/// Questions and answers of AWS Secrets Manager, with the service's own member names.
enum SecretsManagerWire {
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
