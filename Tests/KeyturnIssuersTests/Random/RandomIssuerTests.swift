import Foundation
import KeyturnCore
import TestSupport
import Testing

@testable import KeyturnIssuers

@Suite("Random passwords, tokens and key pairs")
struct RandomIssuerTests {
    private func issue(_ parameters: Parameters, defaults: Parameters = [:]) async throws -> IssuedKey {
        let issuer = RandomIssuer(defaults: defaults)
        let request = IssueRequest(
            lineage: Lineage(
                secret: try SecretName("team/key"), version: 1, nonce: String(repeating: "a", count: 32)),
            parameters: parameters, lifetime: nil, intendedAt: Date(timeIntervalSince1970: 1_800_000_000),
            knownKeyIDs: [])
        return try await issuer.issue(request, prepared: try await issuer.prepare(request))
    }

    private func text(_ parameters: Parameters, defaults: Parameters = [:]) async throws -> String {
        try #require(try await issue(parameters, defaults: defaults).material.value.exposedText())
    }

    @Test func thirtyTwoLettersAndDigitsUnlessToldOtherwise() async throws {
        let password = try await text([:])
        #expect(password.count == 32)
        #expect(password.utf8.allSatisfy { PasswordRules.alphabets["alphanumeric"]?.utf8.contains($0) == true })
        #expect(try await text(["length": .integer(12)], defaults: ["length": .integer(20)]).count == 12)
        #expect(try await text([:], defaults: ["length": .integer(20)]).count == 20)
    }

    @Test(arguments: [8, 9, 64, 4_096]) func hasTheLengthThatIsAsked(length: Int) async throws {
        for format in ["password", "hex", "base64url"] {
            #expect(try await text(["format": .string(format), "length": .integer(length)]).count == length)
        }
    }

    @Test(arguments: PasswordRules.alphabets.keys.sorted()) func holdsOnlyItsAlphabet(name: String) async throws {
        let alphabet = Set(try #require(PasswordRules.alphabets[name]).utf8)
        let password = try await text(["alphabet": .string(name), "length": .integer(4_096)])
        #expect(Set(password.utf8).isSubset(of: alphabet))
        #expect(Set(password.utf8).count > alphabet.count * 9 / 10, "nearly every character comes up")
    }

    @Test func anAlphabetOfOnesOwnAndExclusions() async throws {
        let own = try await text(["alphabet": .string("xyz"), "length": .integer(500)])
        #expect(Set(own) == ["x", "y", "z"])
        let without = try await text(["exclude": .string("0O1lI"), "length": .integer(4_096)])
        #expect(Set(without).isDisjoint(with: "0O1lI"))
    }

    @Test func classesAreFilled() async throws {
        let parameters: Parameters = [
            "alphabet": .string("ascii"), "length": .integer(8),
            "classes": .map([
                "lower": .integer(1), "upper": .integer(2), "digits": .integer(3), "symbols": .integer(2),
            ]),
        ]
        for _ in 0..<50 {
            let password = try await text(parameters)
            #expect(password.count == 8)
            for (kind, count) in [(PasswordRules.Class.lower, 1), (.upper, 2), (.digits, 3), (.symbols, 2)] {
                #expect(password.count { kind.characters.contains($0) } >= count, "\(kind)")
            }
        }
    }

    @Test(
        arguments: [
            (
                ["alphabet": .string("aa")],
                "an alphabet is alphanumeric, ascii, base64url, digits, hex, letters, or characters, each once"
            ),
            (["alphabet": .string("a b")], "an alphabet holds printable ASCII characters only"),
            (["alphabet": .string("äö")], "an alphabet holds printable ASCII characters only"),
            (
                ["alphabet": .string("ab"), "exclude": .string("b")],
                "fewer than two characters are left to choose from"
            ),
            (
                ["alphabet": .string("digits"), "classes": .map(["upper": .integer(1)])],
                "the alphabet has no upper that a password could hold"
            ),
            (
                ["length": .integer(8), "classes": .map(["upper": .integer(9)])],
                "they ask for more characters than the length allows"
            ),
        ] as [(Parameters, String)])
    func whatCanNotBeMadeIsRefused(parameters: Parameters, reason: String) async throws {
        let error = await #expect(throws: SystemError.self) { try await text(parameters) }
        #expect(error?.code == .misconfigured)
        #expect(error?.message == "no password can be made: \(reason)")
        let problems = RandomIssuer.description.check([:], parameters, nil)
        #expect(problems.map(\.message) == [reason])
    }

    @Test func uuidsAreOfVersionFour() async throws {
        for _ in 0..<50 {
            let text = try await text(["format": .string("uuid")])
            #expect(UUID(uuidString: text)?.uuidString.lowercased() == text)
            let digits = Array(text)
            #expect(digits[14] == "4" && "89ab".contains(digits[19]))
        }
    }

    @Test(arguments: [("rsa", 2048), ("rsa", 3072), ("ed25519", 0), ("p256", 0)])
    func keyPairsAreReadByOpenSSL(format: String, bits: Int) async throws {
        var parameters: Parameters = ["format": .string(format)]
        if bits > 0 { parameters["bits"] = .integer(bits) }
        let key = try await issue(parameters)
        let folder = try ScratchFolder()
        let secret = try #require(key.material.fields["privateKey"])
        #expect(secret.matches(key.material.value))
        let own = try folder.write(secret.exposedBytes(), to: "private.pem")
        let shared = try folder.write(
            try #require(key.material.fields["publicKey"]).exposedBytes(), to: "public.pem")
        // The private key is whole, and the public one belongs to it.
        let derived = try openssl(["pkey", "-in", own, "-pubout"])
        #expect(try openssl(["pkey", "-pubin", "-in", shared, "-pubout"]) == derived)
        #expect(String(decoding: derived, as: UTF8.self).hasPrefix("-----BEGIN PUBLIC KEY-----"))
        _ = try openssl(["pkey", "-in", own, "-check", "-noout"])
        let words = String(decoding: try openssl(["pkey", "-in", own, "-text", "-noout"]), as: UTF8.self)
        let kind = ["rsa": "Private-Key: (\(bits) bit", "ed25519": "ED25519 Private-Key:", "p256": "prime256v1"]
        #expect(words.contains(try #require(kind[format])))
        #expect(key.keyID?.count == 64)
    }

    private func openssl(_ arguments: [String]) throws -> Data {
        try StockProgram.run(["openssl"] + arguments, isQuiet: true)
    }

    @Test func whatValidateIsTold() {
        func problems(_ parameters: Parameters) -> [ParameterProblem] {
            RandomIssuer.description.check(["length": .integer(32)], parameters, nil)
        }
        #expect(problems([:]).isEmpty)
        let weak = problems(["length": .integer(8), "alphabet": .string("digits")])
        #expect(weak.map(\.isWarning) == [true])
        #expect(weak.map(\.path) == [["length"]])
        #expect(problems(["format": .string("rsa"), "bits": .integer(2049)]).map(\.path) == [["bits"]])
        #expect(problems(["format": .string("uuid"), "alphabet": .string("a")]).isEmpty)
    }

    // MARK: Evenness

    @Test func everyCharacterIsAsLikelyAsEveryOther() throws {
        var generator = SeededGenerator(seed: 4_711)
        let rules = try PasswordRules(["alphabet": .string("alphanumeric"), "length": .integer(62)])
        var counts: [UInt8: Int] = [:]
        for _ in 0..<2_000 { for byte in rules.password(using: &generator) { counts[byte, default: 0] += 1 } }
        // 2000 of each are expected; 61 degrees of freedom, and 1 in 1000 tries exceeds 100.
        let chiSquare = rules.alphabet.reduce(0.0) { $0 + pow(Double(counts[$1] ?? 0) - 2_000, 2) / 2_000 }
        #expect(chiSquare < 100, "\(chiSquare)")
    }

    @Test func everyPasswordThatFitsIsAsLikelyAsEveryOther() throws {
        var generator = SeededGenerator(seed: 4_711)
        // Of the 27 texts over a, b and 1 of three characters, 19 hold a digit.
        let rules = try PasswordRules([
            "alphabet": .string("ab1"), "length": .integer(3), "classes": .map(["digits": .integer(1)]),
        ])
        var counts: [[UInt8]: Int] = [:]
        for _ in 0..<19_000 { counts[rules.password(using: &generator), default: 0] += 1 }
        #expect(counts.count == 19)
        let chiSquare = counts.values.reduce(0.0) { $0 + pow(Double($1) - 1_000, 2) / 1_000 }
        // 18 degrees of freedom: 1 in 1000 tries exceeds 43.
        #expect(chiSquare < 43, "\(chiSquare)")
    }
}
