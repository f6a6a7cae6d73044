import Foundation
import KeyturnCore
import KeyturnEngine
import Synchronization
import TestSupport
import Testing

/// What keeps old keys alive: clocks that disagree, a journal that is an old copy, a health check that fails, an issuer
/// that does not let go.
@Suite("Guards over retirement")
struct GuardTests {
    private static let day = 86_400.0

    /// Two versions, the first of which has some of its grace left.
    private func rotated(_ harness: EngineHarness) async throws {
        try await harness.pass()
        harness.time.set(harness.time.now().addingTimeInterval(30 * Self.day))
        try await harness.pass()
        #expect(try await stages(harness) == [.previous, .current])
    }

    private func stages(_ harness: EngineHarness) async throws -> [Stage] {
        try await harness.record().versions.map(\.stage)
    }

    private func pass(_ harness: EngineHarness, after seconds: Double) async throws {
        harness.time.set(harness.time.now().addingTimeInterval(seconds))
        try await harness.pass()
    }

    // MARK: The clock

    @Test func aLeapOfTheClockRetiresNothing() async throws {
        let harness = try EngineHarness()
        try await rotated(harness)
        harness.time.leap(by: 3 * Self.day)
        for _ in 1...4 { try await pass(harness, after: 3_600) }
        #expect(try await stages(harness) == [.previous, .current])
        #expect(harness.issuer.keys.count == 2)
        // One alert, whatever the number of looks.
        #expect(harness.sink.kinds.filter { $0 == .clockDisagrees }.count == 1)
        let alert = try #require(harness.sink.events.first { $0.kind == .clockDisagrees })
        #expect(alert.summary.contains("leapt forward by 3 days") && alert.secret == nil)
        #expect(!harness.sink.kinds.contains(.retireBlocked))
        // It is set right: the grace goes on from where it was.
        harness.time.leap(by: -3 * Self.day)
        try await pass(harness, after: 3_600)
        #expect(harness.sink.events.last?.resolves == .clockDisagrees)
        #expect(try await stages(harness) == [.previous, .current])
        try await pass(harness, after: 2 * Self.day)
        #expect(try await stages(harness) == [.retired, .current])
    }

    /// A failure that was noted by a clock that has gone back since holds nothing up until then.
    @Test func whatWaitsByAWrongClockIsTriedAgainOnceItIsRight() async throws {
        let harness = try EngineHarness()
        try await harness.pass()
        harness.time.set(harness.time.now().addingTimeInterval(30 * Self.day))
        harness.time.leap(by: 40 * Self.day)
        harness.issuer.fail("issue", with: [SystemError(.unavailable, "down", retryAfter: 600)])
        try await harness.pass()
        #expect(try await harness.record().rotation?.lastError != nil)
        harness.time.leap(by: -40 * Self.day)
        try await pass(harness, after: 60)
        try await pass(harness, after: 60)
        #expect(try await harness.record().current?.number == 2)
    }

    @Test func aPersonAcceptsTheClockAndTheGraceStaysWhole() async throws {
        let harness = try EngineHarness()
        try await rotated(harness)
        harness.time.leap(by: 3 * Self.day)
        try await pass(harness, after: 60)
        try await harness.engine().acceptClock(actor: "somebody")
        try await pass(harness, after: 60)
        #expect(harness.sink.events.last?.resolves == .clockDisagrees)
        // Two days of grace, of which three minutes have passed, whatever the wall clock says.
        #expect(try await stages(harness) == [.previous, .current])
        try await pass(harness, after: 1.9 * Self.day)
        #expect(try await stages(harness) == [.previous, .current])
        try await pass(harness, after: 0.2 * Self.day)
        #expect(try await stages(harness) == [.retired, .current])
    }

    @Test func aGraceThatBeganByAClockThatWasBehindStaysWhole() async throws {
        let harness = try EngineHarness()
        func hear(_ offset: TimeInterval) {
            let reading = harness.time.reading()
            harness.witnesses.hear("bao", say: reading.wall.addingTimeInterval(offset), at: reading.uptime)
        }
        try await harness.pass()
        harness.time.set(harness.time.now().addingTimeInterval(32 * Self.day))
        harness.time.leap(by: -1.9 * Self.day)
        hear(1.9 * Self.day)
        try await harness.pass()
        #expect(harness.sink.kinds.contains(.clockDisagrees))
        #expect(try await stages(harness) == [.previous, .current])
        harness.time.leap(by: 1.9 * Self.day)
        hear(0)
        try await pass(harness, after: 60)
        #expect(harness.sink.events.last?.resolves == .clockDisagrees)
        try await pass(harness, after: 1.8 * Self.day)
        #expect(try await stages(harness) == [.previous, .current])
        try await pass(harness, after: 0.3 * Self.day)
        #expect(try await stages(harness) == [.retired, .current])
    }

    @Test func aClockThatIsSetRightWhileTheGatesAreAskedShortensNoGrace() async throws {
        let harness = try EngineHarness()
        let (time, witnesses) = (harness.time, harness.witnesses)
        let hear = { @Sendable (offset: TimeInterval) in
            let reading = time.reading()
            witnesses.hear("bao", say: reading.wall.addingTimeInterval(offset), at: reading.uptime)
        }
        try await rotated(harness)
        // With a start of the machine nothing but the witness tells.
        time.restart()
        time.leap(by: 3 * Self.day)
        hear(-3 * Self.day)
        harness.issuer.beforeNextCheck {
            time.leap(by: -3 * Self.day)
            hear(0)
        }
        let before = harness.issuer.calls.count
        try await pass(harness, after: 60)
        #expect(harness.issuer.calls.count == before + 1, "the gates were asked")
        #expect(try await stages(harness) == [.previous, .current])
        try await pass(harness, after: 2.1 * Self.day)
        #expect(try await stages(harness) == [.retired, .current])
    }

    @Test func aSystemWithAnotherTimeStopsRetiring() async throws {
        let harness = try EngineHarness()
        try await rotated(harness)
        harness.time.set(harness.time.now().addingTimeInterval(3 * Self.day))
        let reading = harness.time.reading()
        harness.witnesses.hear("bao", say: reading.wall.addingTimeInterval(-4_000), at: reading.uptime)
        try await harness.pass()
        #expect(try await stages(harness) == [.previous, .current])
        #expect(harness.sink.kinds.contains(.clockDisagrees))
        let later = harness.time.reading()
        harness.witnesses.hear("bao", say: later.wall.addingTimeInterval(-4), at: later.uptime)
        try await pass(harness, after: 600)
        #expect(try await stages(harness) == [.retired, .current])
    }

    @Test func systemsThatAgreeVouchForALeap() async throws {
        let harness = try EngineHarness()
        try await rotated(harness)
        // The machine stood still for three days without knowing.
        harness.time.leap(by: 3 * Self.day)
        let reading = harness.time.reading()
        harness.witnesses.hear("bao", say: reading.wall, at: reading.uptime)
        try await pass(harness, after: 1)
        #expect(!harness.sink.kinds.contains(.clockDisagrees))
        #expect(try await stages(harness) == [.previous, .current])
        try await pass(harness, after: 2 * Self.day)
        #expect(try await stages(harness) == [.retired, .current])
    }

    @Test func aCompromisedKeyGoesWhateverTheTimeIs() async throws {
        let harness = try EngineHarness()
        try await harness.pass()
        harness.time.leap(by: -3 * Self.day)
        try await harness.engine().request(try harness.name, compromised: true, actor: "test")
        try await pass(harness, after: 1)
        #expect(harness.sink.kinds.contains(.clockDisagrees))
        #expect(try await stages(harness) == [.retired, .current])
    }

    // MARK: The journal

    @Test func aRestoredJournalRevokesNothingUntilItIsAccepted() async throws {
        var harness = try EngineHarness()
        try await rotated(harness)
        let backup = harness.journal.copy()
        // The history goes on: version 1 is retired, 3 and 4 are made.
        for _ in 1...2 {
            try await pass(harness, after: 3 * Self.day)
            try await pass(harness, after: 27 * Self.day)
        }
        #expect(try await stages(harness) == [.retired, .retired, .previous, .current])
        let serving = try #require(harness.direct.consumed(EngineHarness.secret))
        let alive = harness.issuer.keys
        harness.journal = backup
        try await pass(harness, after: 3_600)
        #expect(harness.issuer.keys == alive)
        #expect(harness.issuer.accepts(serving))
        #expect(harness.direct.consumed(EngineHarness.secret) == serving)
        let alert = try #require(harness.sink.events.first { $0.kind == .stateRestored })
        #expect(alert.severity == .critical && alert.summary.contains("holds version 4 of team/key"))
        #expect(try await harness.journal.installationState().freeze?.contains("adopt --restored") == true)
        for _ in 1...5 { try await pass(harness, after: Self.day) }
        #expect(harness.issuer.keys == alive)
        let frozen = try await harness.record()
        let installation = try await harness.journal.installationState()
        #expect(throws: RollbackRefusal.frozen(try #require(installation.freeze))) {
            try Rollback.target(in: frozen, under: harness.policies.first, installation, at: harness.time.now())
        }
        #expect(harness.sink.kinds.filter { $0 == .stateRestored }.count == 1)

        let report = try await harness.engine().acceptRestored(actor: "somebody")
        #expect(report.ahead.map(\.text) == [EngineHarness.secret] && report.unseen.isEmpty)
        #expect(report.unknownKeys == 2 && report.generation == 2)
        #expect(harness.issuer.keys == alive)
        try await pass(harness, after: 1)
        let record = try await harness.record()
        #expect(record.current?.number == 5)
        #expect(record.version(4)?.keyID == alive.last?.id)
        let fresh = try #require(harness.staged.consumed(EngineHarness.secret))
        #expect(harness.issuer.accepts(fresh) && fresh == harness.direct.consumed(EngineHarness.secret))
        // Consumers that hold what was served are served until the grace is over.
        #expect(harness.issuer.accepts(serving))
        try await pass(harness, after: 10 * Self.day)
        #expect(!harness.issuer.accepts(serving))
        #expect(try await harness.record().versions.map(\.stage) == [.retired, .retired, .retired, .current])
        // The one of which nobody can tell is left to a person.
        let orphans = try await harness.journal.orphans().filter { $0.state == .undecided }
        #expect(orphans.compactMap(\.keyID) == [alive.first?.id])
        #expect(harness.issuer.keys.map(\.id).contains(alive[0].id))
    }

    /// The backup was made between the intent to issue and its outcome: what the issuer lists as ours is in use by now.
    @Test func aRestoredIntentRevokesNothing() async throws {
        var harness = try EngineHarness()
        try await harness.pass()
        harness.time.set(harness.time.now().addingTimeInterval(30 * Self.day))
        harness.plan.die(at: 0, of: "issuer.issue", .after)
        _ = try? await harness.pass()
        harness.plan.revive()
        let backup = harness.journal.copy()
        #expect(try await harness.record().rotation?.issueIntent != nil)
        try await pass(harness, after: 3_600)
        try await pass(harness, after: 3_600)
        #expect(try await harness.record().current?.number == 2)
        let alive = harness.issuer.keys
        let serving = try #require(harness.direct.consumed(EngineHarness.secret))
        harness.journal = backup
        for _ in 1...3 { try await pass(harness, after: 3_600) }
        #expect(harness.issuer.keys == alive && harness.issuer.accepts(serving))
        #expect(try await harness.record().quarantine != nil)
        _ = try await harness.engine().acceptRestored(actor: "somebody")
        #expect(harness.issuer.accepts(serving))
        try await pass(harness, after: 1)
        #expect(harness.issuer.accepts(serving))
        #expect(try await harness.record().current?.number == 3)
        try await pass(harness, after: 1 * Self.day)
        #expect(harness.issuer.accepts(serving))
    }

    /// The backup holds a pending version that consumers have by now, and a policy that wants another key.
    @Test func aRestoredPendingVersionIsNotRevokedWhileItServes() async throws {
        var harness = try EngineHarness()
        try await harness.pass()
        harness.time.set(harness.time.now().addingTimeInterval(30 * Self.day))
        harness.plan.die(at: 0, of: "issuer.check", .before)
        _ = try? await harness.pass()
        harness.plan.revive()
        let backup = harness.journal.copy()
        #expect(try await harness.record().pending?.number == 2)
        try await pass(harness, after: 3_600)
        #expect(try await harness.record().current?.number == 2)
        let serving = try #require(harness.direct.consumed(EngineHarness.secret))
        harness.journal = backup
        harness.policies = [try EngineHarness.policy(issueDigest: "another")]
        for _ in 1...3 { try await pass(harness, after: 3_600) }
        #expect(harness.issuer.accepts(serving))
        #expect(harness.sink.kinds.contains(.stateRestored))
        _ = try await harness.engine().acceptRestored(actor: "somebody")
        try await pass(harness, after: 1)
        #expect(try await harness.record().current?.number ?? 0 >= 2)
        #expect(harness.issuer.accepts(serving))
    }

    // MARK: Switching off and on again

    private struct Health: KeyVerifier {
        let answers: Answers

        func verify(_ key: KeyHandle) async throws(SystemError) -> KeyCheck {
            answers.next() ? .works : .refused("the shop is closed")
        }
    }

    private final class Answers: Sendable {
        private let state = Mutex((isHealthy: true, asked: 0))

        var asked: Int { state.withLock { $0.asked } }
        func turn(healthy: Bool) { state.withLock { $0.isHealthy = healthy } }
        func next() -> Bool {
            state.withLock { state in
                state.asked += 1
                return state.isHealthy
            }
        }
    }

    private func watched(_ answers: Answers) throws -> EngineHarness {
        var harness = try EngineHarness(policies: [
            try EngineHarness.policy(
                retirement: RetirementRule(
                    observe: try PolicyDuration("1d"), health: [PolicyCheck(type: "command")]))
        ])
        harness.verifier = { _ in Health(answers: answers) }
        return harness
    }

    @Test func aHealthyServiceLetsTheOldKeyGo() async throws {
        let answers = Answers()
        let harness = try watched(answers)
        try await rotated(harness)
        #expect(answers.asked == 0)
        try await pass(harness, after: 2.1 * Self.day)
        #expect(try await stages(harness) == [.disabled, .current])
        #expect(answers.asked == 1)
        // Again and again while it is observed, and once more before the end.
        for _ in 1...4 { try await pass(harness, after: 3_600) }
        #expect(answers.asked == 5)
        try await pass(harness, after: Self.day)
        #expect(try await stages(harness) == [.retired, .current])
        #expect(answers.asked == 6)
    }

    @Test func aFailingHealthCheckSwitchesTheOldKeyOnAgain() async throws {
        let answers = Answers()
        let harness = try watched(answers)
        try await rotated(harness)
        try await pass(harness, after: 2.1 * Self.day)
        #expect(harness.issuer.keys.filter(\.isEnabled).count == 1)
        answers.turn(healthy: false)
        try await pass(harness, after: 3_600)
        #expect(harness.issuer.keys.filter(\.isEnabled).count == 2)
        #expect(try await stages(harness) == [.previous, .current])
        let alert = try #require(harness.sink.events.last)
        #expect(alert.kind == .retireBlocked && alert.reason == "healthy")
        #expect(alert.summary.contains("switched on again") && alert.summary.contains("the shop is closed"))
        // It stays so until a person has looked, healthy or not.
        answers.turn(healthy: true)
        for _ in 1...3 { try await pass(harness, after: Self.day) }
        #expect(try await stages(harness) == [.previous, .current])
        try await harness.engine().release(try harness.name, actor: "somebody")
        try await pass(harness, after: 1)
        #expect(harness.sink.events.last?.resolves == .retireBlocked)
        #expect(try await stages(harness) == [.disabled, .current])
        try await pass(harness, after: 2 * Self.day)
        #expect(try await stages(harness) == [.retired, .current])
    }

    /// Dies at each instant of the undoing: the key is on at the end, and the check that passes because it is on does
    /// not count.
    @Test(arguments: [CrashPlan.Instant.before, .after])
    func theUndoingSurvivesACrash(_ instant: CrashPlan.Instant) async throws {
        let answers = Answers()
        let harness = try watched(answers)
        try await rotated(harness)
        try await pass(harness, after: 2.1 * Self.day)
        answers.turn(healthy: false)
        harness.plan.die(at: 0, of: "issuer.enable", instant)
        harness.time.set(harness.time.now().addingTimeInterval(3_600))
        _ = try? await harness.pass()
        harness.plan.revive()
        answers.turn(healthy: true)
        try await pass(harness, after: 600)
        #expect(harness.issuer.keys.filter(\.isEnabled).count == 2)
        #expect(try await stages(harness) == [.previous, .current])
        try await pass(harness, after: 2 * Self.day)
        #expect(try await stages(harness) == [.previous, .current])
    }

    // MARK: The proof

    @Test func anIssuerThatIsSlowToLetGoIsWaitedFor() async throws {
        let harness = try EngineHarness()
        try await rotated(harness)
        harness.issuer.lingerAfterRevoke(forChecks: 3)
        try await pass(harness, after: 3 * Self.day)
        #expect(try await stages(harness) == [.retired, .current])
        let kinds = try await harness.journal.auditEntries(of: nil, after: 0, limit: 1_000).map {
            "\($0.event.kind) \($0.event.step ?? "")"
        }
        #expect(kinds.contains("step.succeeded prove-refused"))
    }

    @Test func aKeyThatWorksAfterItWasRevokedIsRevokedAgainAndTold() async throws {
        let harness = try EngineHarness()
        try await rotated(harness)
        harness.issuer.lingerAfterRevoke(forChecks: 15)
        try await pass(harness, after: 3 * Self.day)
        #expect(try await stages(harness) == [.previous, .current])
        #expect(try await harness.record().versions[0].retirement?.lastError?.message.contains("still accepts") == true)
        for _ in 1...6 { try await pass(harness, after: 3_600) }
        #expect(try await stages(harness) == [.retired, .current])
        #expect(harness.issuer.calls.filter { $0 == "revoke" }.count > 1)
        #expect(harness.sink.kinds.contains(.retireBlocked))
    }
}
