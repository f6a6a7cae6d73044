import Foundation
import KeyturnCore
import KeyturnEngine
import TestSupport
import Testing

/// What a restart makes of answers that were never recorded: looked at, taken again, told once.
@Suite struct RecoveryTests {
    static let day: TimeInterval = 86_400

    /// A harness whose process died at an effect, in its second rotation.
    private func dead(
        at effect: String, _ instant: CrashPlan.Instant, kind: IssuerKind = .listable
    ) async throws -> EngineHarness {
        let harness = try EngineHarness(kind: kind)
        try await harness.pass()
        harness.time.set(harness.time.now().addingTimeInterval(30 * Self.day))
        harness.plan.die(at: 0, of: effect, instant)
        _ = try? await harness.pass()
        guard harness.plan.deathAt == effect else { throw NotReached(effect: effect) }
        harness.plan.revive()
        return harness
    }

    private struct NotReached: Error { let effect: String }

    private func resolutions(_ harness: EngineHarness) async throws -> [AuditEvent] {
        try await harness.journal.auditEntries(of: nil, after: 0, limit: 10_000).map(\.event).filter {
            $0.kind == "step.resolved"
        }
    }

    struct Case: Sendable {
        let effect: String
        let instant: CrashPlan.Instant
        var kind = IssuerKind.listable
        let step: String
        let outcome: ResolvedStep.Outcome
        let found: String
    }

    static let cases = [
        Case(
            effect: "issuer.issue", instant: .before, step: "issue", outcome: .neverMade,
            found: "the key was never made"),
        Case(
            effect: "issuer.issue", instant: .after, step: "issue", outcome: .orphanRevoked,
            found: "the key was made and its text lost"),
        Case(
            effect: "issuer.issue", instant: .after, kind: .chosen, step: "issue", outcome: .repeated,
            found: "the answer to its creation was lost"),
        Case(
            effect: "staged.stage", instant: .after, step: "stage:staged", outcome: .repeated,
            found: "no consumer can have seen it"),
        Case(
            effect: "direct.promote", instant: .before, step: "promote:direct", outcome: .repeated,
            found: "the backend has the value before it still"),
        Case(
            effect: "direct.promote", instant: .after, step: "promote:direct", outcome: .repeated,
            found: "the backend has the new value already"),
    ]

    @Test(arguments: cases) func eachIsResolvedAndToldOnce(example: Case) async throws {
        let harness = try await dead(at: example.effect, example.instant, kind: example.kind)
        let left = try await harness.record()
        #expect(left.unanswered.contains { $0.step == example.step && $0.version == 2 && $0.found == nil })
        let logged = harness.log.lines.count
        for _ in 0..<6 {
            try await harness.pass()
            harness.time.set(harness.time.now().addingTimeInterval(3600))
        }
        let record = try await harness.record()
        #expect(record.unanswered.isEmpty)
        #expect(record.current?.number == 2)
        let resolved = try await resolutions(harness).filter { $0.step == example.step }
        #expect(resolved.count == 1)
        #expect(resolved.first?.version == 2)
        #expect(resolved.first?.detail["outcome"] == example.outcome.rawValue)
        #expect(resolved.first?.detail["found"] == example.found)
        #expect(resolved.first?.detail["action"]?.isEmpty == false)
        let lines = harness.log.lines.dropFirst(logged).filter {
            $0.message == "unknown outcome resolved" && $0.facts["step"] == example.step
        }
        #expect(lines.count == 1)
        #expect(lines.first?.facts["version"] == "2")
        #expect(lines.first?.facts["found"] == example.found)
        let newest = try #require(try await resolutions(harness).last)
        #expect(record.resolved?.step == newest.step)
        #expect(record.resolved?.at == newest.at)
    }

    @Test func anOldKeyWhoseEndWasNotAnswered() async throws {
        let harness = try EngineHarness()
        try await harness.pass()
        harness.time.set(harness.time.now().addingTimeInterval(30 * Self.day))
        try await harness.pass()
        harness.time.set(harness.time.now().addingTimeInterval(3 * Self.day))
        harness.plan.die(at: 0, of: "issuer.revoke", .after)
        _ = try? await harness.pass()
        try #require(harness.plan.isDead, "the old key was never revoked")
        harness.plan.revive()
        #expect(try await harness.record().unanswered.map(\.step) == ["revoke"])
        try await harness.pass()
        let record = try await harness.record()
        #expect(record.unanswered.isEmpty)
        #expect(record.resolved?.step == "revoke")
        #expect(record.resolved?.version == 1)
        #expect(record.version(1)?.stage == .retired)
    }

    @Test func staysUnknownUntilTheSystemAnswers() async throws {
        let harness = try await dead(at: "direct.promote", .after)
        let down = SystemError(.unreachable, "no connection")
        harness.direct.fail("read", with: [down])
        harness.direct.fail("promote", with: [down])
        try await harness.pass()
        let waiting = try await harness.record()
        #expect(waiting.unanswered.map(\.step) == ["promote:direct"])
        #expect(waiting.unanswered.first?.found == "the backend could not be asked: no connection")
        #expect(try await resolutions(harness).map(\.step) == ["promote:staged"])
        harness.time.set(harness.time.now().addingTimeInterval(3600))
        try await harness.pass()
        let record = try await harness.record()
        #expect(record.unanswered.isEmpty)
        #expect(try await resolutions(harness).map(\.step) == ["promote:staged", "promote:direct"])
    }

    @Test func anAnswerThatCameIsNoUnknownOutcome() async throws {
        let harness = try EngineHarness()
        harness.direct.fail("promote", with: [SystemError(.unavailable, "in maintenance")])
        try await harness.pass()
        #expect(try await harness.record().unanswered.isEmpty)
        harness.time.set(harness.time.now().addingTimeInterval(3600))
        try await harness.pass()
        #expect(try await harness.record().current?.number == 1)
        #expect(try await harness.record().resolved == nil)
        #expect(try await resolutions(harness).isEmpty)
    }

    @Test func aLostAnswerToACreationIsUnknownWithoutACrash() async throws {
        let harness = try EngineHarness()
        harness.issuer.fail("issue", with: [SystemError(.timedOut, "no answer in time", mayHaveTakenEffect: true)])
        try await harness.pass()
        #expect(try await harness.record().unanswered.map(\.step) == ["issue"])
        harness.time.set(harness.time.now().addingTimeInterval(3600))
        try await harness.pass()
        let record = try await harness.record()
        #expect(record.resolved?.outcome == .orphanRevoked)
        #expect(record.unanswered.isEmpty)
        #expect(harness.issuer.keys.count == 1)
    }

    @Test func aSecretThatIsHeldIsNotAskedAbout() async throws {
        let harness = try await dead(at: "direct.promote", .after)
        harness.journal.markPaused(true, of: try harness.name, at: harness.time.now(), actor: "ann")
        let calls = harness.direct.calls.count
        try await harness.pass()
        #expect(harness.direct.calls.count == calls)
        #expect(try await harness.record().unanswered.first?.found == nil)
        harness.journal.markPaused(false, of: try harness.name, at: harness.time.now(), actor: "ann")
        try await harness.pass()
        #expect(try await harness.record().resolved?.step == "promote:direct")
    }
}
