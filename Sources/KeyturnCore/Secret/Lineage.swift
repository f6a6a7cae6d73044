/// The mark that Keyturn leaves on a key that it makes, by which it knows its own after a lost answer.
///
/// Written as `keyturn:SECRET:VERSION:NONCE` wherever the issuer has room for a description, name or label. The nonce is
/// journaled before the key is asked for.
package struct Lineage: Hashable, Sendable, Codable, CustomStringConvertible {
    package let secret: SecretName
    package let version: Int
    /// 32 lower-case hexadecimal digits, random for each attempt to issue.
    package let nonce: String

    package init(secret: SecretName, version: Int, nonce: String) {
        self.secret = secret
        self.version = version
        self.nonce = nonce
    }

    package var description: String { "keyturn:\(secret):\(version):\(nonce)" }

    /// Reads a mark back; `nil` for any text that Keyturn did not write.
    package init?(mark: String) {
        let parts = mark.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count == 4, let version = Int(parts[2]), version > 0, Self.isNonce(parts[3]),
            let secret = try? SecretName(String(parts[1]))
        else { return nil }
        self.init(secret: secret, version: version, nonce: String(parts[3]))
        // Each lineage has one spelling: `+1` and `01` are none of ours.
        guard description == mark else { return nil }
    }

    private static func isNonce(_ text: Substring) -> Bool {
        text.utf8.count == 32
            && text.utf8.allSatisfy {
                (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                    || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains($0)
            }
    }

    /// A fresh nonce of 128 random bits.
    package static func nonce(using generator: inout some RandomNumberGenerator) -> String {
        let words = [generator.next() as UInt64, generator.next()]
        return words.map { word in
            let digits = String(word, radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }.joined()
    }
}
