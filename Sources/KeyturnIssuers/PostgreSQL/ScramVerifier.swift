import Crypto
import CryptoExtras
import Foundation
import KeyturnCore

/// What a server of PostgreSQL keeps of a password: it proves the password, and does not tell it.
///
/// RFC 5802, section 3, with SHA-256 (RFC 7677), in the form of
/// https://www.postgresql.org/docs/current/catalog-pg-authid.html. The passwords made here are ASCII, which SASLprep leaves
/// as they are.
enum ScramVerifier {
    static func make(
        _ password: SecretValue, salt: [UInt8], iterations: Int
    ) throws(SystemError) -> String {
        let salted: SymmetricKey
        do {
            salted = try password.withUnsafeBytes { bytes in
                try KDF.Insecure.PBKDF2.deriveKey(
                    from: Data(bytes), salt: salt, using: .sha256, outputByteCount: 32,
                    unsafeUncheckedRounds: iterations)
            }
        } catch {
            throw SystemError(.local, "the verifier of a password can't be made", disposition: .passing)
        }
        func key(_ label: String) -> Data {
            Data(HMAC<SHA256>.authenticationCode(for: Data(label.utf8), using: salted))
        }
        let stored = Data(SHA256.hash(data: key("Client Key")))
        return "SCRAM-SHA-256$\(iterations):\(Data(salt).base64EncodedString())"
            + "$\(stored.base64EncodedString()):\(key("Server Key").base64EncodedString())"
    }

    /// With a salt of 16 random bytes, as the server itself takes them.
    static func make(_ password: SecretValue, iterations: Int) throws(SystemError) -> String {
        let salt = (0..<16).map { _ in UInt8.random(in: .min ... .max) }
        return try make(password, salt: salt, iterations: iterations)
    }
}
