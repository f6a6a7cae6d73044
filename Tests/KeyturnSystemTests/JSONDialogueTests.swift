import Foundation
import KeyturnCore
import KeyturnSystem
import TestSupport
import Testing

@Suite("Questions in JSON")
struct JSONDialogueTests {
    private struct Question: Encodable {
        var operation = "create"
        var path = "a/b"
        var value: ExposedValue?
    }

    private struct Answer: Decodable { let keyId: String }

    private let folder: ScratchFolder

    init() throws { folder = try ScratchFolder() }

    private func ask(_ script: String, _ question: Question = Question()) async throws(SystemError) -> Answer {
        let program = ChildProgram(
            ["sh", "-c", script], folder: folder.path, environment: ["PATH": "/usr/bin:/bin"])
        return try await JSONDialogue.ask(program, question, as: Answer.self)
    }

    private func failure(_ answer: String, status: Int = 0) async -> SystemError? {
        do throws(SystemError) {
            _ = try await ask("cat > /dev/null; printf '%s' '\(answer)'; exit \(status)")
            return nil
        } catch { return error }
    }

    @Test func theQuestionIsOneObjectWithSortedMembers() async throws {
        let value = SecretValue(utf8: "s\"e\\c\n✓")
        let answer = try await ask(
            #"cat > question; echo '{"keyId": "k1", "more": 1}'"#, Question(value: ExposedValue(value)))
        #expect(answer.keyId == "k1")
        #expect(folder.read("question") == #"{"operation":"create","path":"a/b","value":"s\"e\\c\n✓"}"#)
    }

    @Test func aValueThatIsNotTextCanNotBeAsked() async throws {
        let error = await #expect(throws: SystemError.self) {
            try await ask("touch started", Question(value: ExposedValue(SecretValue([0xFF]))))
        }
        #expect(error?.code == .local && error?.mayHaveTakenEffect == false)
        #expect(folder.read("started") == nil)
    }

    @Test func refusalsHaveCodeDispositionAndWait() async throws {
        let cases: [(String, SystemError.Code, SystemError.Disposition, Double?)] = [
            (#"{"error": {"code": "rateLimited"}}"#, .rateLimited, .passing, nil),
            (#"{"error": {"code": "forbidden"}}"#, .forbidden, .permanent, nil),
            (#"{"error": {"code": "forbidden", "retryable": true}}"#, .forbidden, .passing, nil),
            (#"{"error": {"code": "unavailable", "retryable": false}}"#, .unavailable, .permanent, nil),
            (#"{"error": {"code": "rateLimited", "retryAfter": 7.5}}"#, .rateLimited, .passing, 7.5),
            (#"{"error": {"code": "rateLimited", "retryAfter": -1}}"#, .rateLimited, .passing, 0),
            (#"{"error": {"code": "rateLimited", "retryAfter": 1e9}}"#, .rateLimited, .passing, 86_400),
            (#"{"error": {"code": "some-word-of-theirs", "message": "CANARY"}}"#, .badRequest, .permanent, nil),
            (#"{"keyId": "k", "error": {"code": "conflict"}}"#, .conflict, .permanent, nil),
        ]
        for (answer, code, disposition, retryAfter) in cases {
            for status in [0, 1] {
                let error = try #require(await failure(answer, status: status))
                #expect(error.code == code, "\(answer)")
                #expect(error.disposition == disposition, "\(answer)")
                #expect(error.retryAfter == retryAfter, "\(answer)")
                #expect(error.message == "the program refused the request")
                #expect(!error.mayHaveTakenEffect)
            }
        }
    }

    @Test(arguments: [
        "", "not JSON", "[]", "null", "{}", #"{"keyId": 5}"#, #"{"keyId": "k"}x"#, #"{"error": "words"}"#,
    ])
    func anythingElseIsABadAnswer(answer: String) async throws {
        let error = try #require(await failure(answer))
        #expect(error.code == .badAnswer && error.mayHaveTakenEffect)
        #expect(error.message == "the program did not answer what it should")
    }

    @Test func aStatusWithoutRefusalIsAnUnknownOutcome() async throws {
        let error = try #require(await failure(#"{"keyId": "CANARY"}"#, status: 3))
        #expect(error.code == .local && error.disposition == .passing && error.mayHaveTakenEffect)
        #expect(error.message == "the program ended with status 3")
    }
}
