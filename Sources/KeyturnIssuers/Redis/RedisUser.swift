import Crypto
import Foundation
import KeyturnCore

/// A user as `ACL GETUSER` shows it: https://redis.io/docs/latest/commands/acl-getuser/
struct RedisUser: Sendable, Equatable {
    let flags: Set<String>
    /// SHA-256 of each password, hexadecimal.
    let passwords: [String]

    /// - Returns: `nil` for an answer that is none.
    init?(_ answer: RESPValue) {
        guard case .array(let items) = answer, items.count.isMultiple(of: 2) else { return nil }
        var members: [String: [String]] = [:]
        for index in stride(from: 0, to: items.count, by: 2) {
            guard let name = items[index].text else { return nil }
            if case .array(let texts) = items[index + 1] { members[name] = texts.compactMap(\.text) }
        }
        guard let flags = members["flags"], let passwords = members["passwords"] else { return nil }
        self.flags = Set(flags)
        self.passwords = passwords
    }

    static func hash(_ password: SecretValue) -> String {
        password.withUnsafeBytes { SHA256.hash(data: Data($0)).hexadecimal }
    }

    /// The name of a password: the begin of its hash, which tells nothing of a random one.
    static func keyID(_ hash: String) -> String { String(hash.prefix(16)) }
}
