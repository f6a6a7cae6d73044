import Crypto
package import Foundation

/// The public half of the key that signs checkpoints: `ed25519:` and 32 bytes in base64. It is no secret.
package struct AuditPublicKey: Sendable, Hashable, CustomStringConvertible {
    private static let prefix = "ed25519:"

    private let key: Curve25519.Signing.PublicKey

    fileprivate init(_ key: Curve25519.Signing.PublicKey) { self.key = key }

    /// `nil` for anything but the one spelling of a key.
    package init?(_ text: String) {
        guard text.hasPrefix(Self.prefix), let bytes = Data(base64Encoded: String(text.dropFirst(Self.prefix.count))),
            let key = try? Curve25519.Signing.PublicKey(rawRepresentation: bytes)
        else { return nil }
        self.key = key
        guard description == text else { return nil }
    }

    package var description: String { Self.prefix + key.rawRepresentation.base64EncodedString() }

    package func verifies(_ signature: Data, of statement: Data) -> Bool {
        key.isValidSignature(signature, for: statement)
    }

    package static func == (left: AuditPublicKey, right: AuditPublicKey) -> Bool {
        left.key.rawRepresentation == right.key.rawRepresentation
    }

    package func hash(into hasher: inout Hasher) { hasher.combine(key.rawRepresentation) }
}

/// The key that signs checkpoints of the audit trail. It is neither printed nor encoded by itself.
///
/// Its file is PKCS #8 in PEM as RFC 8410 has it, which `openssl genpkey -algorithm ed25519` writes too.
package struct AuditSigningKey: Sendable, CustomStringConvertible, CustomReflectable {
    private let key: Curve25519.Signing.PrivateKey

    private static let begin = "-----BEGIN PRIVATE KEY-----"
    private static let end = "-----END PRIVATE KEY-----"
    /// RFC 8410, section 7: OneAsymmetricKey with the algorithm 1.3.101.112 and no parameters, up to the 32 bytes.
    private static let preamble: [UInt8] = [0x30, 0x2E, 2, 1, 0, 0x30, 5, 6, 3, 0x2B, 0x65, 0x70, 4, 0x22, 4, 0x20]

    /// A fresh one.
    package init() { key = Curve25519.Signing.PrivateKey() }

    /// Reads the file's content; `nil` for anything but one private key of Ed25519.
    package init?(pem: SecretValue) {
        guard let text = pem.exposedText() else { return nil }
        let lines = text.split(whereSeparator: \.isNewline).map { $0.trimmingCharacters(in: .whitespaces) }
        guard lines.count >= 3, lines.first == Self.begin, lines.last == Self.end,
            var bytes = Data(base64Encoded: lines.dropFirst().dropLast().joined()).map(Array.init)
        else { return nil }
        defer { for index in bytes.indices { bytes[index] = 0 } }
        guard bytes.count == Self.preamble.count + 32, bytes.starts(with: Self.preamble),
            let key = try? Curve25519.Signing.PrivateKey(rawRepresentation: bytes.dropFirst(Self.preamble.count))
        else { return nil }
        self.key = key
    }

    /// The content of its file.
    package var pem: SecretValue {
        let body = Data(Self.preamble + Array(key.rawRepresentation)).base64EncodedString()
        return SecretValue(utf8: "\(Self.begin)\n\(body)\n\(Self.end)\n")
    }

    package var publicKey: AuditPublicKey { AuditPublicKey(key.publicKey) }

    /// `nil` only when the library has no randomness to sign with.
    func signature(of statement: Data) -> Data? { try? key.signature(for: statement) }

    package var description: String { "[signing key of \(publicKey)]" }
    package var customMirror: Mirror { Mirror(self, children: []) }
}
