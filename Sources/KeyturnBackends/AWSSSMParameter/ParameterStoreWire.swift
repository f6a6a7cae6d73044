// Members are named as the service names them.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import KeyturnCore

/// Questions and answers of Parameter Store, a part of AWS Systems Manager. Source: the API reference, 2014-11-06,
/// https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html and its kin.
enum ParameterStoreWire {
    static let service = AWSJSONClient.Service(
        name: "AWS Parameter Store", code: "ssm", target: "AmazonSSM", endpointVariable: "AWS_ENDPOINT_URL_SSM",
        refusals: [
            "ParameterNotFound": missing, "ParameterVersionNotFound": missing, "InvalidResourceId": missing,
            "ParameterAlreadyExists": .init(code: .conflict, words: "there is a parameter of that name already"),
            "TooManyUpdates": .init(code: .rateLimited, words: "the parameter is being changed too often"),
            "ParameterLimitExceeded": .init(
                code: .limitExceeded, words: "the account has as many parameters as it may have",
                advice: "delete some, or ask for a higher quota"),
            "ParameterMaxVersionLimitExceeded": .init(
                code: .limitExceeded, words: "the oldest version can't make room, because it has a label",
                advice: "move that label to a newer version"),
            "TooManyTagsError": .init(
                code: .limitExceeded, words: "the parameter has too many tags for Keyturn's five", advice: "remove some"
            ),
            "InvalidKeyId": .init(
                code: .misconfigured, words: "the KMS key can't be used", advice: "check `kmsKeyId` and its policy"),
            "ParameterPatternMismatchException": .init(
                code: .rejectedValue, words: "the value does not match the parameter's allowed pattern"),
            "HierarchyLevelLimitExceededException": .init(
                code: .misconfigured, words: "the name has more than 15 levels"),
            "ValidationException": .init(
                code: .badRequest, words: "the request is refused",
                advice: "a value may hold no '{{...}}', and 4096 bytes at most, 8192 with the tier Advanced"),
        ])

    private static let missing = AWSJSONClient.Refusal(code: .notFound, words: "there is no such parameter or version")

    struct Get: Encodable {
        let Name: String
        let WithDecryption: Bool
    }

    struct Got: Decodable {
        struct Payload: Decodable {
            let `Type`: String?
            let Value: String?
            let Version: Int
        }
        let Parameter: Payload
    }

    struct Tag: Codable {
        let Key: String
        let Value: String
    }

    struct Put: Encodable {
        let Name: String
        let Value: String
        let `Type` = "SecureString"
        let KeyId: String?
        let Tier: String?
        let Overwrite: Bool
        /// Only for a parameter that is new.
        let Tags: [Tag]?
        let Description: String?
    }

    struct Written: Decodable { let Version: Int }

    struct Resource: Encodable {
        let ResourceType = "Parameter"
        let ResourceId: String
        var Tags: [Tag]?
    }

    struct Tagged: Decodable { let TagList: [Tag]? }

    struct Empty: Decodable {}
}
