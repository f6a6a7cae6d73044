import Foundation
import KeyturnCore
import KeyturnEngine
import TestSupport
import Testing

/// A key that we chose is set again after a lost answer, and the journal knows of it until an answer says what became of it.
@Suite struct RepeatedIssueTests {
    @Test(arguments: [SystemError.Code.rateLimited, .forbidden, .conflict])
    func aRefusedRepetitionSaysNothingOfTheFirstCall(refusal: SystemError.Code) async throws {
        let harness = try EngineHarness(kind: .chosen)
        harness.issuer.fail(
            "issue",
            with: [
                SystemError(.timedOut, "no answer", mayHaveTakenEffect: true), SystemError(refusal, "not now"),
            ])
        try await harness.pass()
        let made = try #require(harness.issuer.keys.first)
        let intent = try #require(await harness.record().rotation?.issueIntent)

        harness.time.set(harness.time.now().addingTimeInterval(3600))
        try await harness.pass()
        #expect(harness.issuer.calls.count { $0 == "issue" } == 2)
        #expect(try await harness.record().rotation?.issueIntent == intent)

        try await harness.engine().release(try harness.name, actor: "someone")
        harness.time.set(harness.time.now().addingTimeInterval(3600))
        try await harness.pass()
        // The same key, and no second one beside it.
        #expect(harness.issuer.keys.map(\.id) == [made.id])
        #expect(try await harness.record().current?.keyID == made.id)
        #expect(harness.staged.consumed(EngineHarness.secret) == made.text)
    }
}
