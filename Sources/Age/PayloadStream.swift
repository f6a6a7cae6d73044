import Crypto
import Foundation

/// The payload: chunks of 64 KiB under ChaCha20-Poly1305, each with its number and whether it is the last in the nonce.
/// Source: the age specification, section "Payload" (the STREAM construction).
enum PayloadStream {
    static let chunk = 64 * 1024
    static let tag = 16
    static let nonceLength = 16

    static func encrypt(_ plaintext: [UInt8], fileKey: [UInt8], nonce: [UInt8]) throws(AgeError) -> [UInt8] {
        let key = self.key(fileKey, nonce)
        var output = nonce
        var offset = 0
        var counter: UInt64 = 0
        repeat {
            let end = min(offset + chunk, plaintext.count)
            guard let nonce = chunkNonce(counter, isLast: end == plaintext.count),
                let box = try? ChaChaPoly.seal(plaintext[offset..<end], using: key, nonce: nonce)
            else { throw .corruptedPayload }
            output += box.ciphertext
            output += box.tag
            offset = end
            counter += 1
        } while offset < plaintext.count
        return output
    }

    static func decrypt(_ payload: ArraySlice<UInt8>, fileKey: [UInt8]) throws(AgeError) -> [UInt8] {
        guard payload.count >= nonceLength + tag else { throw .truncated }
        let key = self.key(fileKey, Array(payload.prefix(nonceLength)))
        var rest = payload.dropFirst(nonceLength)
        var output: [UInt8] = []
        output.reserveCapacity(rest.count)
        var counter: UInt64 = 0
        while true {
            let piece = rest.prefix(chunk + tag)
            rest = rest.dropFirst(chunk + tag)
            if let opened = open(piece, counter, isLast: rest.isEmpty, key) {
                // An empty last chunk is only the form of an empty file.
                guard !opened.isEmpty || counter == 0 else { throw .corruptedPayload }
                output += opened
                if rest.isEmpty { return output }
                counter += 1
                continue
            }
            // What fails may still be whole in itself, and tells then what is wrong around it.
            if rest.isEmpty, open(piece, counter, isLast: false, key) != nil { throw .truncated }
            if !rest.isEmpty, open(piece, counter, isLast: true, key) != nil { throw .trailingData }
            throw .corruptedPayload
        }
    }

    private static func open(
        _ piece: ArraySlice<UInt8>, _ counter: UInt64, isLast: Bool, _ key: SymmetricKey
    ) -> Data? {
        guard piece.count >= tag, let nonce = chunkNonce(counter, isLast: isLast),
            let box = try? ChaChaPoly.SealedBox(
                nonce: nonce, ciphertext: piece.dropLast(tag), tag: piece.suffix(tag))
        else { return nil }
        return try? ChaChaPoly.open(box, using: key)
    }

    private static func key(_ fileKey: [UInt8], _ nonce: [UInt8]) -> SymmetricKey {
        HKDF<SHA256>.deriveKey(
            inputKeyMaterial: SymmetricKey(data: fileKey), salt: nonce, info: Data("payload".utf8), outputByteCount: 32)
    }

    /// Eleven bytes of counter, most significant first, and one that says whether it is the last.
    private static func chunkNonce(_ counter: UInt64, isLast: Bool) -> ChaChaPoly.Nonce? {
        let number = (0..<8).map { UInt8(truncatingIfNeeded: counter >> (56 - 8 * UInt64($0))) }
        return try? ChaChaPoly.Nonce(data: [0, 0, 0] + number + [isLast ? 1 : 0])
    }
}
