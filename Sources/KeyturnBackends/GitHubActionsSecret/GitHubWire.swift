// Members are named as the service names them.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

/// Questions and answers of https://docs.github.com/rest/actions/secrets and https://docs.github.com/rest/actions/variables
enum GitHubWire {
    struct PublicKey: Decodable {
        let key_id: String
        let key: String
    }

    struct About: Decodable {
        let updated_at: String
        /// Of an organization's secret alone.
        let visibility: String?
    }

    struct Selected: Decodable {
        struct Repository: Decodable { let id: Int }
        let total_count: Int
        let repositories: [Repository]
    }

    struct Put: Encodable {
        let encrypted_value: String
        let key_id: String
        var visibility: String?
        var selected_repository_ids: [Int]?
    }

    struct Variable: Codable {
        let name: String
        let value: String
        var visibility: String?
        var selected_repository_ids: [Int]?
    }
}

/// What Keyturn notes beside a secret whose value nobody can read: which of its writes the secret comes from, as far as
/// the time of the last change tells.
struct GitHubMark: Codable, Equatable {
    struct Write: Codable, Equatable {
        let version: Int
        let generation: Int
        /// The secret's `updated_at` when the write was done; for one that is intended, that before it.
        let updatedAt: String?
    }

    let secret: String
    let instance: String
    /// The last write that was seen to be done.
    var done: Write?
    /// One that is about to be made, or whose answer was lost.
    var intended: Write?
}
