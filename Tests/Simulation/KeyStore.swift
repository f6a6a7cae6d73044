import Foundation
import KeyturnCore

/// The keys that exist at the issuer of one secret.
struct KeyStore {
    struct Key {
        let id: String
        let text: String
        let lineage: Lineage
        let expiresAt: Double?
        var isEnabled = true
        /// The issuer made it, and no server of it will ever accept it.
        let isRejected: Bool
        /// From then on the issuer's every server knows it.
        let settledAt: Double

        func works(at now: Double) -> Bool {
            isEnabled && !isRejected && settledAt <= now && expiresAt.map { $0 > now } ?? true
        }
    }

    private(set) var all: [Key] = []

    subscript(id: String) -> Key? { all.first { $0.id == id } }

    func key(text: String) -> Key? { all.first { $0.text == text } }

    mutating func put(_ key: Key) {
        remove(key.id)
        all.append(key)
    }

    mutating func remove(_ id: String) { all.removeAll { $0.id == id } }

    mutating func setEnabled(_ id: String, _ isEnabled: Bool) {
        for index in all.indices where all[index].id == id { all[index].isEnabled = isEnabled }
    }

    func accepts(_ text: String, at now: Double) -> Bool { key(text: text)?.works(at: now) ?? false }
}

/// What every key's text begins with: what to look for where no value may be.
enum KeyMark {
    static let text = "canary-"
    private static let plain = Array(text.utf8)
    /// The same in base64, for which the last byte, that shares its digits with the next, is left out.
    private static let encoded = Array(Data(text.utf8.dropLast()).base64EncodedString().utf8)

    static func isIn(_ data: Data) -> Bool {
        data.withUnsafeBytes { bytes in find(plain, bytes) || find(encoded, bytes) }
    }

    static func isIn(_ text: String) -> Bool {
        var text = text
        return text.withUTF8 { find(plain, UnsafeRawBufferPointer($0)) }
    }

    private static func find(_ mark: [UInt8], _ bytes: UnsafeRawBufferPointer) -> Bool {
        var start = 0
        while start + mark.count <= bytes.count {
            if bytes[start] == mark[0], mark.indices.allSatisfy({ bytes[start + $0] == mark[$0] }) { return true }
            start += 1
        }
        return false
    }
}
