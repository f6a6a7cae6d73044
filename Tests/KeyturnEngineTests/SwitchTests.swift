import Foundation
import KeyturnCore
import KeyturnEngine
import TestSupport
import Testing

/// Pauses of everything and of one issuer, and limits on how much may go wrong.
@Suite struct SwitchTests {
    private static let day: TimeInterval = 86_400

    private func pause(_ harness: EngineHarness, _ scope: PauseSwitch.Scope = .everything) async throws {
        try await harness.journal.setSwitch(
            PauseSwitch(scope: scope, since: harness.time.now(), reason: "test", actor: "ann"))
    }

    // MARK: Pauses

    @Test func nothingBeginsWhileEverythingIsPaused() async throws {
        let harness = try EngineHarness()
        try await pause(harness)
        try await harness.pass()
        #expect(harness.issuer.calls.isEmpty)
        try await harness.engine().lift(.everything, actor: "ann")
        try await harness.pass()
        #expect(try await harness.record().current?.number == 1)
    }

    @Test func nothingIsRetiredEither() async throws {
        let harness = try EngineHarness()
        try await harness.pass()
        harness.time.set(harness.time.now().addingTimeInterval(30 * Self.day))
        try await harness.pass()
        try await pause(harness, .issuer("issuer"))
        harness.time.set(harness.time.now().addingTimeInterval(3 * Self.day))
        try await harness.pass()
        #expect(harness.issuer.keys.count == 2)
        try await harness.engine().lift(.issuer("issuer"), actor: "ann")
        try await harness.pass()
        #expect(harness.issuer.keys.count == 1)
    }

    @Test func anotherIssuerGoesOn() async throws {
        let harness = try EngineHarness()
        try await pause(harness, .issuer("other"))
        try await harness.pass()
        #expect(try await harness.record().current?.number == 1)
    }

    @Test func itIsSeenBetweenTheStepsOfWhatIsUnderWay() async throws {
        var harness = try EngineHarness(policies: [EngineHarness.policy(checks: [PolicyCheck(type: "pausing")])])
        let journal = harness.journal
        let now = harness.time.now()
        harness.verifier = { _ in PausingVerifier(journal: journal, at: now) }
        try await harness.pass()
        let record = try await harness.record()
        // The step in flight was finished and recorded; the next one did not begin.
        #expect(record.rotation?.machine.phase == .promoting)
        #expect(record.rotation?.machine.isPastFirstPromote == false)
        #expect(!harness.direct.calls.contains("promote"))
        try await harness.engine().lift(.everything, actor: "ann")
        try await harness.pass()
        #expect(try await harness.record().current?.number == 1)
    }

    @Test func expiryIsStillTold() async throws {
        let harness = try EngineHarness()
        try await harness.pass()
        try await pause(harness)
        harness.time.set(harness.time.now().addingTimeInterval(61 * Self.day))
        try await harness.pass()
        #expect(harness.sink.kinds.contains(.keyExpired))
        #expect(harness.issuer.calls.count { $0 == "issue" } == 1)
    }

    // MARK: Rotations in an hour

    private func many(_ count: Int, checks: [PolicyCheck] = []) throws -> [Policy] {
        try (0..<count).map { try EngineHarness.policy("team/key-\($0)", checks: checks) }
    }

    private func issued(_ harness: EngineHarness) -> Int { harness.issuer.calls.count { $0 == "issue" } }

    @Test func noMoreThanTheLimitBeginInAnHourWhateverIsRestarted() async throws {
        var harness = try EngineHarness(policies: many(12))
        harness.settings.maxRotationsPerHour = 5
        for round in 1...3 {
            try await harness.pass()
            try await harness.pass()
            #expect(issued(harness) == min(12, 5 * round), "round \(round)")
            harness.time.set(harness.time.now().addingTimeInterval(3598))
            try await harness.pass()
            #expect(issued(harness) == min(12, 5 * round), "round \(round)")
            harness.time.set(harness.time.now().addingTimeInterval(2))
        }
        #expect(try await harness.journal.records().allSatisfy { $0.waiting == nil && $0.current != nil })
    }

    @Test func thoseWhoseKeysExpireFirstGoFirst() async throws {
        var harness = try EngineHarness(
            policies: (0..<9).map { number in
                // The later in the alphabet, the sooner it expires.
                try EngineHarness.policy("team/key-\(number)", every: "30d", lifetime: "\(70 - number)d")
            })
        try await harness.pass()
        harness.settings.maxRotationsPerHour = 3
        harness.time.set(harness.time.now().addingTimeInterval(30 * Self.day))
        for expected in [[6, 7, 8], [3, 4, 5, 6, 7, 8], Array(0...8)] {
            try await harness.pass()
            let rotated = try await harness.journal.records().filter { $0.current?.number == 2 }.map(\.name.text)
            #expect(rotated == expected.map { "team/key-\($0)" })
            harness.time.set(harness.time.now().addingTimeInterval(3601))
        }
    }

    @Test func whoWaitsKnowsUntilWhen() async throws {
        var harness = try EngineHarness(policies: many(3))
        harness.settings.maxRotationsPerHour = 1
        try await harness.pass()
        let now = harness.time.now()
        let waits = try await harness.journal.records().compactMap(\.waiting?.until)
        #expect(waits.map { $0.timeIntervalSince(now).rounded() }.sorted() == [3600, 7200])
        let record = try #require(await harness.journal.records().first { $0.waiting != nil })
        let facts = SecretFacts(
            policy: harness.policies.first { $0.secret == record.name }, record: record, traits: nil,
            rotationsPerHour: 1)
        let plan = Planner.plan(record.name, facts, at: now)
        #expect(plan.reason == .rotationLimit && plan.isBlocked && plan.at == record.waiting?.until)
        #expect(plan.nextLook == record.waiting?.until)
        // Without the limit, or under another one, nothing holds it up.
        for other in [nil, 2] {
            let free = SecretFacts(policy: facts.policy, record: record, traits: nil, rotationsPerHour: other)
            #expect(Planner.plan(record.name, free, at: now).isDue(at: now))
        }
        harness.settings.maxRotationsPerHour = nil
        try await harness.pass()
        #expect(issued(harness) == 3)
    }

    @Test func whatAPersonAsksForIsNotHeldBackAndCounts() async throws {
        var harness = try EngineHarness(policies: many(4))
        try await harness.pass()
        harness.settings.maxRotationsPerHour = 2
        let engine = try await harness.engine()
        for number in 0..<3 {
            let name = try SecretName("team/key-\(number)")
            try await engine.request(name, compromised: number == 0, actor: "ann")
            _ = try await engine.pass(only: [name])
            #expect(try await harness.record("team/key-\(number)").current?.number == 2)
        }
        harness.policies.append(try EngineHarness.policy("team/new"))
        try await harness.pass()
        #expect(try await harness.record("team/new").current == nil)
        harness.time.set(harness.time.now().addingTimeInterval(3600))
        try await harness.pass()
        #expect(try await harness.record("team/new").current?.number == 1)
    }

    @Test func whoIsPausedLeavesTheLine() async throws {
        var harness = try EngineHarness(policies: many(2))
        harness.settings.maxRotationsPerHour = 1
        try await harness.pass()
        let waiting = try #require(await harness.journal.records().first { $0.waiting != nil }?.name)
        try await harness.journal.setPaused(true, of: waiting, at: harness.time.now(), actor: "ann")
        try await harness.pass()
        #expect(try await harness.record(waiting.text).waiting == nil)
    }

    // MARK: Failures in a row

    @Test func aBadPolicyTouchesNoMoreThanAFewKeys() async throws {
        var harness = try EngineHarness(policies: many(500, checks: [PolicyCheck(type: "refusing")]))
        harness.verifier = { _ in RefusingVerifier() }
        harness.settings.stopAfterFailures = 10
        harness.settings.concurrency = 8
        for _ in 0..<3 {
            try await harness.pass()
            harness.time.set(harness.time.now().addingTimeInterval(Self.day))
        }
        #expect(issued(harness) <= 10 + 8)
        #expect(issued(harness) >= 10)
        let stop = try #require(await harness.journal.switches().first)
        #expect(stop.scope == .everything && stop.cause == .failures)
        #expect(stop.reason?.hasPrefix("10 rotations in a row failed") == true)
        #expect(harness.sink.kinds.count { $0 == .rotationsStopped } == 1)
        // Lifted, the count begins anew.
        try await harness.engine().lift(.everything, actor: "ann")
        #expect(try await harness.journal.failuresInARow() == 0)
        try await harness.pass()
        #expect(issued(harness) <= 2 * (10 + 8))
        #expect(harness.sink.events.contains { $0.kind == .recovered && $0.resolves == .rotationsStopped })
    }

    @Test func aSuccessBeginsTheCountAnew() async throws {
        var harness = try EngineHarness(policies: many(6))
        harness.settings.stopAfterFailures = 3
        harness.settings.concurrency = 1
        for number in 0..<6 {
            if number % 3 == 2 { harness.issuer.refuseNextKeys(0) } else { harness.issuer.refuseNextKeys(1) }
            let engine = try await harness.engine()
            let name = try SecretName("team/key-\(number)")
            try await engine.request(name, compromised: false, actor: "ann")
            _ = try await engine.pass(only: [name])
        }
        #expect(try await harness.journal.switches().isEmpty)
    }

    @Test func aPermanentFailureCountsOnce() async throws {
        var harness = try EngineHarness(policies: many(3))
        harness.settings.stopAfterFailures = 3
        harness.direct.fail("promote", with: Array(repeating: SystemError(.forbidden, "403"), count: 2))
        try await harness.pass()
        try await harness.pass()
        // Two are quarantined; the third one succeeded somewhere in between.
        #expect(try await harness.journal.switches().isEmpty)
        #expect(try await harness.journal.failuresInARow() <= 2)
    }
}

private struct RefusingVerifier: KeyVerifier {
    func verify(_ key: KeyHandle) async throws(SystemError) -> KeyCheck { .refused("it is never good") }
}

/// Somebody pauses everything while the key is checked.
private struct PausingVerifier: KeyVerifier {
    let journal: MemoryJournal
    let at: Date

    func verify(_ key: KeyHandle) async throws(SystemError) -> KeyCheck {
        try? await journal.setSwitch(PauseSwitch(scope: .everything, since: at, reason: nil, actor: "ann"))
        return .works
    }
}
