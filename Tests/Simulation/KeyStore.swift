import Foundation
import KeyturnCore

/// The keys that exist at all issuers of a simulation.
struct KeyStore {
    struct Key {
        let id: String
        let text: String
        let lineage: Lineage?
        let createdAt: Double
        let expiresAt: Double?
        var isEnabled = true
        var lastUse: Double?
        /// From then on the issuer's every server knows it.
        let settledAt: Double
    }

    /// Every key's text begins so: what to look for where no value may be.
    static let markText = "canary-"
    static let mark = Data(markText.utf8)

    private var byID: [String: Key] = [:]
    private var idByText: [String: String] = [:]
    private var made = 0

    var all: some Collection<Key> { byID.values }

    mutating func freshText() -> String {
        made += 1
        return "\(Self.markText)\(made)"
    }

    mutating func freshID() -> String {
        made += 1
        return "key-\(made)"
    }

    subscript(id: String) -> Key? { byID[id] }

    func key(text: String) -> Key? { idByText[text].flatMap { byID[$0] } }

    func keys(of secret: SecretName) -> [Key] { byID.values.filter { $0.lineage?.secret == secret } }

    mutating func put(_ key: Key) {
        if let old = byID[key.id] { idByText[old.text] = nil }
        byID[key.id] = key
        idByText[key.text] = key.id
    }

    mutating func remove(_ id: String) {
        if let key = byID.removeValue(forKey: id) { idByText[key.text] = nil }
    }

    mutating func setEnabled(_ id: String, _ isEnabled: Bool) { byID[id]?.isEnabled = isEnabled }

    mutating func use(_ text: String, at now: Double) {
        if let id = idByText[text] { byID[id]?.lastUse = now }
    }

    func lastUse(of text: String) -> Double? { key(text: text)?.lastUse }

    func accepts(_ text: String, at now: Double) -> Bool {
        guard let key = key(text: text) else { return false }
        return key.isEnabled && key.expiresAt.map { $0 > now } ?? true
    }
}
