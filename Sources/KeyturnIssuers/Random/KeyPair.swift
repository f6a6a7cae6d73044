import Crypto
import CryptoExtras
import Foundation
import KeyturnCore

/// A fresh key pair in PEM: the private key as PKCS #8, the public key as SubjectPublicKeyInfo.
struct KeyPair {
    enum Kind: Sendable {
        case rsa(bits: Int)
        case ed25519
        case p256
    }

    let privateKey: String
    let publicKey: String
    /// SHA-256 of the SubjectPublicKeyInfo, hexadecimal: a public name for the pair.
    let fingerprint: String

    init(_ kind: Kind) throws(SystemError) {
        do {
            switch kind {
            case .rsa(let bits):
                let key = try _RSA.Signing.PrivateKey(keySize: .init(bitCount: bits))
                privateKey = key.pkcs8PEMRepresentation + "\n"
                publicKey = key.publicKey.pemRepresentation + "\n"
                fingerprint = SHA256.hash(data: key.publicKey.derRepresentation).hexadecimal
            case .p256:
                let key = P256.Signing.PrivateKey()
                privateKey = key.pemRepresentation + "\n"
                publicKey = key.publicKey.pemRepresentation + "\n"
                fingerprint = SHA256.hash(data: key.publicKey.derRepresentation).hexadecimal
            case .ed25519:
                let key = Curve25519.Signing.PrivateKey()
                // RFC 8410, section 7: OneAsymmetricKey with the algorithm 1.3.101.112 and no parameters.
                let secret = Data([0x30, 0x2E, 2, 1, 0, 0x30, 5, 6, 3, 0x2B, 0x65, 0x70, 4, 0x22, 4, 0x20])
                let spki =
                    Data([0x30, 0x2A, 0x30, 5, 6, 3, 0x2B, 0x65, 0x70, 3, 0x21, 0]) + key.publicKey.rawRepresentation
                privateKey = Self.pem("PRIVATE KEY", secret + key.rawRepresentation)
                publicKey = Self.pem("PUBLIC KEY", spki)
                fingerprint = SHA256.hash(data: spki).hexadecimal
            }
        } catch {
            throw SystemError(.local, "a key pair can't be made", disposition: .passing)
        }
    }

    var material: KeyMaterial {
        KeyMaterial(
            value: SecretValue(utf8: privateKey),
            fields: ["privateKey": SecretValue(utf8: privateKey), "publicKey": SecretValue(utf8: publicKey)])
    }

    private static func pem(_ label: String, _ der: Data) -> String {
        var text = Substring(der.base64EncodedString())
        var lines = ["-----BEGIN \(label)-----"]
        while !text.isEmpty {
            lines.append(String(text.prefix(64)))
            text = text.dropFirst(64)
        }
        return (lines + ["-----END \(label)-----"]).joined(separator: "\n") + "\n"
    }
}
