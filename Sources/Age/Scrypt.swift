import Crypto
import CryptoExtras
import Foundation

/// A passphrase that files are encrypted with. Such a file has no other recipient.
package struct ScryptRecipient: Recipient {
    private let passphrase: [UInt8]
    private let workFactor: Int

    /// - Parameter workFactor: binary logarithm of the cost, 1 to 30; the stock command takes 18, about a second.
    package init(passphrase: some Sequence<UInt8>, workFactor: Int = 18) {
        self.passphrase = Array(passphrase)
        self.workFactor = min(max(workFactor, 1), 30)
    }

    package var standsAlone: Bool { true }

    package func wrap(_ fileKey: [UInt8]) throws(AgeError) -> Stanza {
        let salt = (0..<16).map { _ in UInt8.random(in: .min ... .max) }
        guard let key = ScryptWrapping.key(passphrase, salt: salt, workFactor: workFactor) else {
            throw .malformedHeader("no key can be derived from the passphrase")
        }
        return Stanza(
            type: ScryptWrapping.type, arguments: [CanonicalBase64.encode(salt), String(workFactor)],
            body: try FileKeyWrapping.wrap(fileKey, under: key))
    }
}

/// Opens files that were encrypted with a passphrase.
package struct ScryptIdentity: Identity, CustomStringConvertible, CustomReflectable {
    private let passphrase: [UInt8]
    private let maximumWorkFactor: Int

    /// - Parameter maximumWorkFactor: files that ask for more are refused instead of keeping the machine busy.
    package init(passphrase: some Sequence<UInt8>, maximumWorkFactor: Int = 22) {
        self.passphrase = Array(passphrase)
        self.maximumWorkFactor = maximumWorkFactor
    }

    package var description: String { "[passphrase]" }
    package var customMirror: Mirror { Mirror(self, children: []) }

    package func unwrap(_ stanza: Stanza) throws(AgeError) -> [UInt8]? {
        guard stanza.type == ScryptWrapping.type else { return nil }
        guard stanza.arguments.count == 2, let salt = CanonicalBase64.decode(stanza.arguments[0]), salt.count == 16
        else { throw .malformedHeader("a scrypt stanza must have a salt of 16 bytes and a work factor") }
        let digits = stanza.arguments[1]
        guard digits.utf8.count <= 2, digits.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), digits.first != "0",
            let workFactor = Int(digits)
        else { throw .malformedHeader("the work factor of a scrypt stanza is not a number") }
        guard workFactor <= maximumWorkFactor else { throw .workFactorTooHigh(workFactor) }
        guard stanza.body.count == FileKeyWrapping.wrappedLength else {
            throw .malformedHeader("a scrypt stanza must hold \(FileKeyWrapping.wrappedLength) bytes")
        }
        guard let key = ScryptWrapping.key(passphrase, salt: salt, workFactor: workFactor) else { return nil }
        return FileKeyWrapping.unwrap(stanza.body, under: key)
    }
}

/// The key derivation of scrypt stanzas.
enum ScryptWrapping {
    static let type = "scrypt"

    static func key(_ passphrase: [UInt8], salt: [UInt8], workFactor: Int) -> SymmetricKey? {
        let rounds = 1 << workFactor
        return try? KDF.Scrypt.deriveKey(
            from: passphrase, salt: Array("age-encryption.org/v1/scrypt".utf8) + salt, outputByteCount: 32,
            rounds: rounds, blockSize: 8, parallelism: 1, maxMemory: rounds * 1024 + (1 << 21))
    }
}
