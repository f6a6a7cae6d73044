import Foundation
import KeyturnCore

/// Questions and answers of Secret Manager: https://cloud.google.com/secret-manager/docs/reference/rest
enum SecretManagerWire {
    struct Empty: Codable {}

    struct Replica: Encodable { let location: String }

    struct Replication: Encodable {
        struct Replicas: Encodable { let replicas: [Replica] }
        var automatic: Empty?
        var userManaged: Replicas?
    }

    struct Create: Encodable {
        /// Absent for a secret of one region.
        let replication: Replication?
        let labels: [String: String]
        let annotations: [String: String]
    }

    struct Secret: Decodable {
        let etag: String?
        let annotations: [String: String]?
        /// Numbers of versions, which JSON holds as texts.
        let versionAliases: [String: LooseNumber]?
    }

    struct Change: Encodable {
        let etag: String?
        var annotations: [String: String]?
        var versionAliases: [String: String]?
    }

    struct Version: Decodable {
        let name: String
        let state: String?
        let etag: String?

        var number: Int? { SecretManagerWire.number(name) }
        var isEnabled: Bool { state == "ENABLED" }
        var isDestroyed: Bool { state == "DESTROYED" }
    }

    /// The last part of `projects/P/secrets/S/versions/N`; `nil` for anything but a number that a version can have.
    static func number(_ name: String) -> Int? {
        guard let last = name.split(separator: "/").last, let number = Int(last), (1...Int(Int32.max)).contains(number)
        else { return nil }
        return number
    }

    struct Page: Decodable {
        let versions: [Version]?
        let nextPageToken: String?
    }

    struct Payload: Codable {
        let data: Data?
        /// An unsigned 32 bit number, which JSON holds as a text.
        let dataCrc32c: String?
    }

    struct Add: Encodable { let payload: Payload }

    struct Accessed: Decodable {
        let name: String
        let payload: Payload?
    }

    struct Tagged: Encodable { let etag: String? }

    /// A number, or the text of one.
    struct LooseNumber: Decodable {
        let value: Int

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let number = try? container.decode(Int.self) {
                value = number
            } else if let number = Int(try container.decode(String.self)) {
                value = number
            } else {
                throw DecodingError.dataCorruptedError(in: container, debugDescription: "not a number")
            }
        }
    }
}
