import Crypto
import Foundation

/// Request tokens derived from what is done, so that a repeated call is known as the same one.
package enum IdempotencyKey {
    /// 64 lower-case hexadecimal digits.
    package static func hex(instance: String, secret: SecretName, version: Int) -> String {
        digest(instance, secret, version).hexadecimal
    }

    /// The same as an RFC 9562 version 8 UUID, lower case, for systems that want one.
    package static func uuid(instance: String, secret: SecretName, version: Int) -> String {
        var bytes = Array(digest(instance, secret, version).prefix(16))
        bytes[6] = (bytes[6] & 0x0F) | 0x80
        bytes[8] = (bytes[8] & 0x3F) | 0x80
        return [0..<4, 4..<6, 6..<8, 8..<10, 10..<16].map { bytes[$0].hexadecimal }.joined(separator: "-")
    }

    private static func digest(_ instance: String, _ secret: SecretName, _ version: Int) -> SHA256.Digest {
        SHA256.hash(data: Data("keyturn\n\(instance)\n\(secret)\n\(version)".utf8))
    }
}
