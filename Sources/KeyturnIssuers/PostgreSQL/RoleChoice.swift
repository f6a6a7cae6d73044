import KeyturnCore

/// The roles that a policy names, and how a key of one of them is written down.
struct RoleChoice: Sendable {
    /// One, or two that take turns.
    let users: [String]
    /// What the value is: `password`, `json` or `url`.
    let format: String

    init(_ parameters: Parameters) {
        users = parameters.string("user").map { [$0] } ?? parameters.strings("users") ?? []
        // With two roles a password alone is half a key.
        format = parameters.string("format") ?? (users.count == 1 ? "password" : "json")
    }

    var alternate: Bool { users.count > 1 }

    func other(than user: String) -> String { users.first { $0 != user } ?? "" }

    /// The role that a key belongs to; `nil` where it does not say.
    static func user(of key: KeyHandle) -> String? {
        key.material?.fields["user"]?.exposedText() ?? key.keyID.flatMap(user(of:))
    }

    /// The roles that a key may belong to: one that was taken over does not say.
    static func users(of key: KeyHandle) -> [String] { user(of: key).map { [$0] } ?? RoleChoice(key.parameters).users }

    /// A key's id: the role, and a mark that is new for each password.
    static func keyID(_ user: String, _ lineage: Lineage) -> String { "\(user)/\(lineage.nonce.prefix(12))" }

    /// The role out of an id that was made here.
    static func user(of keyID: String) -> String? {
        let parts = keyID.split(separator: "/", omittingEmptySubsequences: false)
        guard let mark = parts.last, parts.count > 1, mark.utf8.count == 12,
            mark.allSatisfy({ $0.isHexDigit && !$0.isUppercase })
        else { return nil }
        return parts.dropLast().joined(separator: "/")
    }

    static func password(of key: KeyHandle) -> SecretValue? { key.material?.fields["password"] ?? key.material?.value }
}
