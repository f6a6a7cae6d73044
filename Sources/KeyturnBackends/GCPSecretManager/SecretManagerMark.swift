import KeyturnCore

/// Which write a version comes from. Versions have no room for marks, so that their secret carries one for each, as the
/// annotation `keyturn-version-N` with the value `SECRET VERSION GENERATION INSTANCE`, and the word `pending` at the end
/// until it is promoted.
struct SecretManagerMark: Equatable {
    let secret: String
    let version: Int
    let generation: Int
    let instance: String
    var isPending: Bool

    private static let prefix = "keyturn-version-"

    init(_ write: VersionWrite, isPending: Bool) {
        secret = write.secret.text
        version = write.version
        generation = write.generation
        instance = write.instance
        self.isPending = isPending
    }

    init?(_ text: String) {
        let words = text.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
        guard words.count == 4 || (words.count == 5 && words[4] == "pending"), let version = Int(words[1]), version > 0,
            let generation = Int(words[2]), !words[3].isEmpty
        else { return nil }
        secret = words[0]
        self.version = version
        self.generation = generation
        instance = words[3]
        isPending = words.count == 5
    }

    var text: String { "\(secret) \(version) \(generation) \(instance)\(isPending ? " pending" : "")" }

    /// The annotation's name for the service's own number of a version.
    static func name(_ number: Int) -> String { "\(prefix)\(number)" }

    /// All marks among the annotations of a secret, by the service's number.
    static func all(_ annotations: [String: String]?) -> [Int: SecretManagerMark] {
        var marks: [Int: SecretManagerMark] = [:]
        for (name, text) in annotations ?? [:] where name.hasPrefix(prefix) {
            guard let number = SecretManagerWire.number(String(name.dropFirst(prefix.count))), Self.name(number) == name
            else { continue }
            marks[number] = SecretManagerMark(text)
        }
        return marks
    }

    /// Whether it comes from the write, or an earlier try of it.
    func isOf(_ write: VersionWrite) -> Bool {
        secret == write.secret.text && version == write.version && instance == write.instance
    }
}
