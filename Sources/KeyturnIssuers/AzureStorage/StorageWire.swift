import Foundation
import KeyturnCore

/// What Azure Resource Manager answers about keys of storage accounts:
/// https://learn.microsoft.com/rest/api/storagerp/storage-accounts/list-keys
enum StorageWire {
    struct Key: Decodable {
        let keyName: String
        let value: String
        let creationTime: String?
    }

    struct Keys: Decodable { let keys: [Key] }

    struct Regenerate: Encodable { let keyName: String }

    struct Refusal: Decodable {
        struct Inner: Decodable { let code: String? }
        let error: Inner?
    }
}

/// One of an account's two keys as it is now.
struct StorageKey: Sendable {
    let slot: String
    let value: SecretValue
    /// As the service writes it; `nil` for a key that is as old as its account.
    let createdAt: String?

    static let slots = ["key1", "key2"]

    /// The name of this key among all that were ever in the slot.
    var id: String { createdAt.map { "\(slot)@\($0)" } ?? slot }
}
