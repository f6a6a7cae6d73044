import Age
import KeyturnCore

extension Targets {
    /// The files of the corpus are encrypted to it, or to the passphrase `passphrase`.
    private static let identityText = "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX"

    static let age = [
        FuzzTarget(
            "age-file",
            words: [
                "age-encryption.org/v1\n", "-> X25519 ", "-> scrypt ", "---", "--- ",
                "-----BEGIN AGE ENCRYPTED FILE-----\n",
                "-----END AGE ENCRYPTED FILE-----\n", "\r\n", "=", "-> ", "22", "30",
            ]
        ) { bytes in
            var identities: [any Identity] = [ScryptIdentity(passphrase: "passphrase".utf8, maximumWorkFactor: 8)]
            if let identity = try? X25519Identity(parsing: identityText) { identities.append(identity) }
            do throws(AgeError) {
                let content = try AgeFile.decrypt(bytes, with: identities)
                guard let recipient = (identities.last as? X25519Identity)?.recipient else { return }
                let again = try AgeFile.decrypt(try AgeFile.encrypt(content, to: [recipient]), with: identities)
                try? require(again == content, "a file does not survive")
            } catch { try requireSilent(error) }
        },
        FuzzTarget("identity-file", words: ["AGE-SECRET-KEY-1", "# ", "\r\n", "1", identityText]) { bytes in
            do throws(AgeError) {
                for identity in try IdentityFile.parse(bytes) {
                    let content = IdentityFile.content(identity, created: "now")
                    let again = try IdentityFile.parse(Array(content.utf8))
                    guard again.map(\.recipient) == [identity.recipient] else {
                        throw AgeError.invalidIdentity("an identity does not survive")
                    }
                }
            } catch {
                try requireSilent(error)
                try require(!"\(error)".contains("survive"), "\(error)")
                try require(!"\(error)".contains("GFPYYSJZ"), "an error shows an identity")
            }
        },
        FuzzTarget("bech32", words: ["age1", "AGE1", "1", "qqqqqq", "age-secret-key-1"]) { bytes in
            do throws(AgeError) {
                let recipient = try X25519Recipient(parsing: text(bytes))
                guard recipient.text == text(bytes) else {
                    throw AgeError.invalidRecipient("a recipient has a second spelling")
                }
            } catch { try require(!"\(error)".contains("second spelling"), "\(error)") }
        },
    ]

    static let keys = [
        FuzzTarget(
            "audit-key", words: ["-----BEGIN PRIVATE KEY-----\n", "-----END PRIVATE KEY-----\n", "\r\n", "=", "MC4CAQ"]
        ) { bytes in
            guard let key = AuditSigningKey(pem: SecretValue(bytes)) else { return }
            try require(AuditSigningKey(pem: key.pem)?.publicKey == key.publicKey, "a key does not survive")
            try require(AuditPublicKey("\(key.publicKey)") == key.publicKey, "a public key does not survive")
        },
        FuzzTarget("audit-line", words: ["\"type\":\"entry\"", "null", "\"at\":", "{", "}", ":", ","]) { bytes in
            guard let line = AuditLine(text(bytes)) else { return }
            try require(line.text == text(bytes), "a line has a second spelling")
        },
        FuzzTarget("key-material", words: ["\"value\":", "\"", "{", "}", "=", ","]) { bytes in
            guard let material = KeyMaterial(decoding: SecretValue(bytes)) else { return }
            guard let again = KeyMaterial(decoding: material.encoded()) else {
                throw Violation("a key does not survive")
            }
            try require(again.matches(material), "a key comes back as another one")
        },
    ]
}
