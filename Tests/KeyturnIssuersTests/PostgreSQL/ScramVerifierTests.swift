import Foundation
import KeyturnCore
import TestSupport
import Testing

@testable import KeyturnIssuers

@Suite("Verifiers of PostgreSQL passwords")
struct ScramVerifierTests {
    private struct Question: Encodable {
        let password: String
        let salt: String
        let iterations: Int
    }

    private struct Answer: Decodable { let verifier: String }

    private struct Known: Decodable {
        let password: String
        let verifier: String
    }

    /// What PostgreSQL 15.18 made of random passwords by itself, with salts of its own.
    @Test func areThoseOfTheServer() throws {
        let file = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../Fixtures/scram-verifiers.jsonl").standardizedFileURL
        let lines = try Data(contentsOf: file).split(separator: UInt8(ascii: "\n"))
        #expect(lines.count == 200)
        for line in lines {
            let known = try JSONDecoder().decode(Known.self, from: line)
            // SCRAM-SHA-256$ITERATIONS:SALT$STORED:SERVER
            let parts = known.verifier.split { $0 == "$" || $0 == ":" }
            let text = try #require(parts.dropFirst(2).first)
            let salt = try #require(Data(base64Encoded: String(text)))
            #expect(
                try ScramVerifier.make(SecretValue(utf8: known.password), salt: Array(salt), iterations: 4096)
                    == known.verifier)
        }
    }

    @Test func areThoseOfAnotherImplementation() throws {
        var generator = SeededGenerator(seed: 11)
        let questions = (0..<200).map { number in
            let length = Int.random(in: 1...(number % 10 == 0 ? 300 : 40), using: &generator)
            return Question(
                password: String(
                    decoding: (0..<length).map { _ in UInt8.random(in: 0x21...0x7E, using: &generator) }, as: UTF8.self),
                salt: (0..<Int.random(in: 1...24, using: &generator)).map { _ in
                    String(format: "%02x", UInt8.random(in: .min ... .max, using: &generator))
                }.joined(), iterations: number % 20 == 0 ? 15_000 : 4096)
        }
        let answers = try PythonScript("scram.py", needs: "hashlib").ask(questions, for: Answer.self)
        #expect(answers.count == 200)
        for (question, answer) in zip(questions, answers) {
            let salt = stride(from: 0, to: question.salt.utf8.count, by: 2).compactMap { offset in
                UInt8(question.salt.dropFirst(offset).prefix(2), radix: 16)
            }
            let ours = try ScramVerifier.make(
                SecretValue(utf8: question.password), salt: salt, iterations: question.iterations)
            #expect(ours == answer.verifier)
        }
    }

    /// The example of RFC 7677, section 3: its messages tell the salt and the server's signature, from which the keys follow.
    @Test func holdTheKeysOfTheRFC() throws {
        let salt = try #require(Data(base64Encoded: "W22ZaJ0SNY7soEsUEjb6gQ=="))
        #expect(
            try ScramVerifier.make(SecretValue(utf8: "pencil"), salt: Array(salt), iterations: 4096)
                == "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
                + ":wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=")
    }

    @Test func haveASaltOfTheirOwnEach() throws {
        let password = SecretValue(utf8: "pencil")
        let all = try (0..<3).map { _ in try ScramVerifier.make(password, iterations: 4096) }
        #expect(Set(all).count == 3)
    }
}
