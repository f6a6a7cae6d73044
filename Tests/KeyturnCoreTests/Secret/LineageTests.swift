import Foundation
import KeyturnCore
import Testing

@Suite("Lineage")
struct LineageTests {
    private static let nonce = "0123456789abcdef0123456789abcdef"

    @Test func isWrittenAndReadBack() throws {
        let lineage = Lineage(secret: try SecretName("team/key"), version: 12, nonce: Self.nonce)
        #expect(lineage.description == "keyturn:team/key:12:\(Self.nonce)")
        #expect(Lineage(mark: lineage.description) == lineage)
    }

    @Test(arguments: [
        "", "keyturn", "keyturn:a:1", "keyturn:a:1:\(nonce):", "keyturn:a:1:\(nonce):x", "Keyturn:a:1:\(nonce)",
        " keyturn:a:1:\(nonce)", "keyturn:a:0:\(nonce)", "keyturn:a:-1:\(nonce)", "keyturn:a:x:\(nonce)",
        "keyturn::1:\(nonce)", "keyturn:../a:1:\(nonce)", "keyturn:A:1:\(nonce)", "keyturn:a:1:\(nonce)0",
        "keyturn:a:1:\(nonce.dropLast())", "keyturn:a:1:\(nonce.uppercased())", "keyturn:a:1:\(nonce.dropLast())g",
        "keyturn:a:99999999999999999999:\(nonce)", "other:a:1:\(nonce)", "keyturn:a:+1:\(nonce)",
        "keyturn:a:01:\(nonce)", "keyturn:a:1:\(String(repeating: "\u{FF11}", count: 32))",
    ])
    func isNoOneElsesMark(text: String) {
        #expect(Lineage(mark: text) == nil)
    }

    @Test func noncesHave128RandomBits() {
        var generator = SystemRandomNumberGenerator()
        let nonces = (0..<500).map { _ in Lineage.nonce(using: &generator) }
        #expect(Set(nonces).count == nonces.count)
        #expect(nonces.allSatisfy { $0.count == 32 && $0.allSatisfy(\.isHexDigit) && $0 == $0.lowercased() })
        for position in 0..<32 {
            let seen = Set(nonces.map { Array($0)[position] })
            #expect(seen.count == 16, "digit \(position) is not random")
        }
    }

    @Test func smallNumbersAreFilledUp() {
        struct Small: RandomNumberGenerator {
            var value: UInt64 = 0
            mutating func next() -> UInt64 {
                value += 1
                return value
            }
        }
        var generator = Small()
        #expect(Lineage.nonce(using: &generator) == "00000000000000010000000000000002")
    }
}
