import Crypto
import Foundation

/// A public key that files are encrypted to: `age1...`.
package struct X25519Recipient: Recipient, Hashable {
    static let prefix = "age"

    /// 32 bytes.
    let publicKey: [UInt8]

    /// - Throws: `invalidRecipient`.
    package init(parsing text: String) throws(AgeError) {
        guard let decoded = Bech32.decode(text) else {
            throw .invalidRecipient("it is not Bech32; it looks like age1 and 58 characters")
        }
        guard decoded.prefix == Self.prefix, text.hasPrefix(Self.prefix) else {
            throw .invalidRecipient("it begins with '\(decoded.prefix.prefix(20))1' and not with 'age1'")
        }
        guard decoded.bytes.count == 32 else { throw .invalidRecipient("it has another length than 32 bytes") }
        publicKey = decoded.bytes
    }

    init(publicKey: [UInt8]) { self.publicKey = publicKey }

    /// The recipient as `age1...`.
    package var text: String { Bech32.encode(prefix: Self.prefix, publicKey) }

    package func wrap(_ fileKey: [UInt8]) throws(AgeError) -> Stanza {
        let ephemeral = Curve25519.KeyAgreement.PrivateKey()
        let share = Array(ephemeral.publicKey.rawRepresentation)
        guard let key = X25519Wrapping.key(ephemeral, with: publicKey, share: share, recipient: publicKey) else {
            throw .invalidRecipient("it is a point of low order, to which nothing can be encrypted safely")
        }
        return Stanza(
            type: X25519Wrapping.type, arguments: [CanonicalBase64.encode(share)],
            body: try FileKeyWrapping.wrap(fileKey, under: key))
    }
}

/// The private key to a recipient: `AGE-SECRET-KEY-1...`. It is neither printed nor encoded by itself.
package struct X25519Identity: Identity, CustomStringConvertible, CustomReflectable {
    static let prefix = "age-secret-key-"

    private let privateKey: Curve25519.KeyAgreement.PrivateKey

    /// A fresh one.
    package init() { privateKey = Curve25519.KeyAgreement.PrivateKey() }

    /// - Throws: `invalidIdentity`; its text holds nothing of the identity.
    package init(parsing text: String) throws(AgeError) {
        guard let decoded = Bech32.decode(text), decoded.prefix == Self.prefix, text == text.uppercased(),
            decoded.bytes.count == 32,
            let key = try? Curve25519.KeyAgreement.PrivateKey(rawRepresentation: decoded.bytes)
        else { throw .invalidIdentity("it must be AGE-SECRET-KEY-1 and 58 characters, all in upper case") }
        privateKey = key
    }

    package var recipient: X25519Recipient {
        X25519Recipient(publicKey: Array(privateKey.publicKey.rawRepresentation))
    }

    /// The identity as `AGE-SECRET-KEY-1...`, for the one place that writes it to a file.
    package func exposedText() -> String {
        Bech32.encode(prefix: Self.prefix, Array(privateKey.rawRepresentation)).uppercased()
    }

    package var description: String { "[identity of \(recipient.text)]" }
    package var customMirror: Mirror { Mirror(self, children: []) }

    package func unwrap(_ stanza: Stanza) throws(AgeError) -> [UInt8]? {
        guard stanza.type == X25519Wrapping.type else { return nil }
        guard stanza.arguments.count == 1, let share = CanonicalBase64.decode(stanza.arguments[0]), share.count == 32
        else { throw .malformedHeader("an X25519 stanza must have one argument of 32 bytes") }
        guard stanza.body.count == FileKeyWrapping.wrappedLength else {
            throw .malformedHeader("an X25519 stanza must hold \(FileKeyWrapping.wrappedLength) bytes")
        }
        guard
            let key = X25519Wrapping.key(privateKey, with: share, share: share, recipient: recipient.publicKey)
        else { throw .malformedHeader("an X25519 stanza has a share of low order") }
        return FileKeyWrapping.unwrap(stanza.body, under: key)
    }
}

/// The key agreement of X25519 stanzas.
enum X25519Wrapping {
    static let type = "X25519"

    /// `nil` when the shared secret is all zeros, as a point of low order makes it.
    static func key(
        _ mine: Curve25519.KeyAgreement.PrivateKey, with theirs: [UInt8], share: [UInt8], recipient: [UInt8]
    ) -> SymmetricKey? {
        guard let publicKey = try? Curve25519.KeyAgreement.PublicKey(rawRepresentation: theirs),
            let secret = try? mine.sharedSecretFromKeyAgreement(with: publicKey),
            secret.withUnsafeBytes({ $0.contains { $0 != 0 } })
        else { return nil }
        return secret.hkdfDerivedSymmetricKey(
            using: SHA256.self, salt: Data(share + recipient), sharedInfo: Data("age-encryption.org/v1/X25519".utf8),
            outputByteCount: 32)
    }
}

/// How a file key lies in a stanza: ChaCha20-Poly1305 under a key that is used once, with a nonce of zeros.
enum FileKeyWrapping {
    static let fileKeyLength = 16
    static let wrappedLength = fileKeyLength + 16

    static func wrap(_ fileKey: [UInt8], under key: SymmetricKey) throws(AgeError) -> [UInt8] {
        guard let nonce = try? ChaChaPoly.Nonce(data: [UInt8](repeating: 0, count: 12)),
            let box = try? ChaChaPoly.seal(fileKey, using: key, nonce: nonce)
        else { throw .malformedHeader("the file key can't be wrapped") }
        return Array(box.ciphertext) + Array(box.tag)
    }

    static func unwrap(_ wrapped: [UInt8], under key: SymmetricKey) -> [UInt8]? {
        guard wrapped.count == wrappedLength,
            let box = try? ChaChaPoly.SealedBox(combined: [UInt8](repeating: 0, count: 12) + wrapped),
            let fileKey = try? ChaChaPoly.open(box, using: key)
        else { return nil }
        return Array(fileKey)
    }
}
