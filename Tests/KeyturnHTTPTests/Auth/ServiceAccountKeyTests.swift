import Foundation
import KeyturnCore
import KeyturnHTTP
import TestSupport
import Testing

@Suite("Keys of Google's service accounts")
struct ServiceAccountKeyTests {
    private struct Question: Encodable {
        var make: Int?
        var file: String?
        var scope: String?
        var at: Int?
        var ours: String?
    }

    private struct Made: Decodable { let file: String }

    private struct Judgement: Decodable {
        let isSame: Bool
        let isValid: Bool
        let signature: String
    }

    @Test func googlesLibrarySignsThreeHundredRandomAssertionsTheSame() throws {
        let script = PythonScript("jwt_google.py", needs: "google-auth")
        let files = try script.ask([2048, 2048, 3072].map { Question(make: $0) }, for: Made.self).map(\.file)
        try #require(files.count == 3)
        let keys = try files.map { try ServiceAccountKey(SecretValue(utf8: $0)) }
        var generator = SeededGenerator(seed: 20_270_115)
        let characters = Array("abcXYZ019-._~ /+=&%?#:@\"\\'\n\täß✓😀")
        let questions = try (0..<300).map { _ in
            let index = Int.random(in: keys.indices, using: &generator)
            let length = Int.random(in: 0...80, using: &generator)
            let scope = String((0..<length).compactMap { _ in characters.randomElement(using: &generator) })
            let at = Int.random(in: 0...4_000_000_000, using: &generator)
            let ours = try keys[index].assertion(scope: scope, at: Date(timeIntervalSince1970: Double(at)))
            return Question(file: files[index], scope: scope, at: at, ours: ours.exposedText())
        }
        let judgements = try script.ask(questions, for: Judgement.self)
        try #require(judgements.count == questions.count)
        for (question, judgement) in zip(questions, judgements) {
            #expect(judgement.isValid && judgement.isSame, "\(question.scope ?? "") at \(question.at ?? 0)")
            let ours = try #require(question.ours?.split(separator: ".").last.map(String.init))
            #expect(ours == judgement.signature)
        }
    }

    @Test(arguments: [
        "", "CANARY", "[]", "{}", #"{"type":"authorized_user","refresh_token":"CANARY"}"#,
        #"{"type":"service_account","client_email":"a@b","private_key_id":"i"}"#,
        #"{"type":"service_account","client_email":"","private_key_id":"i","private_key":"CANARY"}"#,
        #"{"type":"service_account","client_email":"a@b","private_key_id":"i","private_key":"CANARY"}"#,
    ])
    func whatIsNoKeyIsNone(file: String) {
        let error = #expect(throws: SystemError.self) { try ServiceAccountKey(SecretValue(utf8: file)) }
        #expect(error?.code == .misconfigured)
        #expect(error.map { "\($0)".contains("CANARY") } == false)
    }
}
