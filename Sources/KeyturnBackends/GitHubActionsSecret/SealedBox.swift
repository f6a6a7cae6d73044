import CSodium
import KeyturnCore

/// A message that only the holder of a private key can open, from nobody in particular.
///
/// libsodium does it: GitHub asks for X25519, XSalsa20 and BLAKE2b as one, and swift-crypto has neither of the last two.
/// See https://doc.libsodium.org/public-key_cryptography/sealed_boxes
enum SealedBox {
    static let keyLength = 32

    /// libsodium may be asked from any thread once this is done.
    private static let isReady = sodium_init() >= 0

    /// - Returns: `nil` for a key that is none.
    static func seal(_ message: SecretValue, to publicKey: [UInt8]) -> [UInt8]? {
        guard isReady, publicKey.count == keyLength else { return nil }
        var box = [UInt8](repeating: 0, count: message.count + crypto_box_sealbytes())
        let status = message.withUnsafeBytes { bytes in
            crypto_box_seal(
                &box, bytes.bindMemory(to: UInt8.self).baseAddress, UInt64(bytes.count), publicKey)
        }
        return status == 0 ? box : nil
    }
}
