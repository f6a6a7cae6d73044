// Members are named as the service names them.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import Foundation
import KeyturnSystem

/// What KV version 2 answers: https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2
enum VaultKV2Wire {
    struct Read: Decodable {
        struct Payload: Decodable {
            let data: [String: JSONValue]?
            let metadata: Version
        }
        let data: Payload
    }

    struct Version: Decodable {
        let version: Int
        let destroyed: Bool?
        let deletion_time: String?

        var isGone: Bool { destroyed == true || !(deletion_time ?? "").isEmpty }
    }

    struct Written: Decodable {
        let data: Version
    }

    struct Metadata: Decodable {
        struct Payload: Decodable {
            struct Entry: Decodable {
                let destroyed: Bool?
                let deletion_time: String?
            }
            let current_version: Int
            let custom_metadata: [String: String]?
            let versions: [String: Entry]?
        }
        let data: Payload
    }

    struct Write: Encodable {
        struct Options: Encodable { let cas: Int }
        let data: [String: JSONValue]
        let options: Options
    }

    struct MetadataWrite: Encodable { let custom_metadata: [String: String] }
    struct Destroy: Encodable { let versions: [Int] }
    struct Capabilities: Decodable {
        struct Payload: Decodable { let capabilities: [String]? }
        let data: Payload?
        let capabilities: [String]?
    }
    struct Ask: Encodable { let paths: [String] }
    struct Mount: Decodable {
        struct Payload: Decodable {
            let type: String?
            let options: [String: String]?
        }
        let data: Payload
    }
}

extension JSONValue {
    /// Whether a server that keeps numbers as `Double` gives back what it was given.
    var survivesDoubles: Bool {
        switch self {
        case .null, .boolean, .string: true
        case .integer(let number): Int64(exactly: Double(number)) == number
        case .large(let number): UInt64(exactly: Double(number)) == number
        // Beyond what the cases above hold, nobody can tell whether it was rounded.
        case .number(let number): number.magnitude < 0x1p64
        case .array(let items): items.allSatisfy(\.survivesDoubles)
        case .object(let members): members.values.allSatisfy(\.survivesDoubles)
        }
    }
}
