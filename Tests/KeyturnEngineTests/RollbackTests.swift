import Foundation
import KeyturnCore
import KeyturnEngine
import TestSupport
import Testing

@Suite struct RollbackTests {
    private static let day: TimeInterval = 86_400

    /// Version 2 is current, version 1 in its grace.
    private func rotated(
        retirement: RetirementRule = RetirementRule(), checks: [PolicyCheck] = []
    ) async throws -> (harness: EngineHarness, first: String) {
        let harness = try EngineHarness(
            policies: [EngineHarness.policy(retirement: retirement, checks: checks)])
        try await harness.pass()
        let first = try #require(harness.staged.consumed(EngineHarness.secret))
        harness.time.set(harness.time.now().addingTimeInterval(30 * Self.day))
        try await harness.pass()
        try #require(try await harness.record().current?.number == 2)
        return (harness, first)
    }

    @discardableResult
    private func rollBack(_ harness: EngineHarness) async throws -> [WorkOutcome] {
        let engine = try await harness.engine()
        try await engine.requestRollback(of: try harness.name, actor: "ann")
        return try await engine.pass(only: [try harness.name])
    }

    private func kinds(_ harness: EngineHarness) async throws -> [String] {
        try await harness.journal.auditEntries(of: nil, after: 0, limit: 10_000).map(\.event.kind)
    }

    @Test func thePreviousVersionIsCurrentAgainEverywhere() async throws {
        let (harness, first) = try await rotated()
        let keys = harness.issuer.keys
        let asked = harness.time.now()
        let outcomes = try await rollBack(harness)
        guard case .rolledBack = try #require(outcomes.first).result else {
            Issue.record("not rolled back: \(outcomes)")
            return
        }
        let record = try await harness.record()
        #expect(record.versions.map(\.stage) == [.current, .previous])
        #expect(record.request == nil && record.rotation == nil)
        for backend in [harness.staged, harness.direct] { #expect(backend.consumed(EngineHarness.secret) == first) }
        #expect(harness.issuer.keys == keys, "no key is made and none is revoked")
        let back = try #require(record.current)
        let rolledBackAt = try #require(back.rolledBackAt)
        #expect(back.promotedAt == rolledBackAt && abs(rolledBackAt.timeIntervalSince(asked)) < 60)
        #expect(back.retireAt == nil && back.retirement == nil)
        #expect(record.version(2)?.retireAt == rolledBackAt.addingTimeInterval(2 * Self.day))
        #expect(try await kinds(harness).suffix(12).contains("version.rolled-back"))
    }

    @Test func theVersionThatWasReplacedGetsItsGraceAndIsRetired() async throws {
        let (harness, first) = try await rotated()
        let second = try #require(harness.staged.consumed(EngineHarness.secret))
        try await rollBack(harness)
        harness.time.set(harness.time.now().addingTimeInterval(2 * Self.day - 1))
        try await harness.pass()
        #expect(harness.issuer.accepts(second))
        harness.time.set(harness.time.now().addingTimeInterval(1))
        try await harness.pass()
        #expect(!harness.issuer.accepts(second) && harness.issuer.accepts(first))
        #expect(try await harness.record().versions.map(\.stage) == [.current, .retired])
    }

    @Test func goingBackTwiceLeadsToWhatWasServedBefore() async throws {
        let (harness, first) = try await rotated()
        let second = try #require(harness.staged.consumed(EngineHarness.secret))
        try await rollBack(harness)
        #expect(harness.direct.consumed(EngineHarness.secret) == first)
        try await rollBack(harness)
        #expect(harness.direct.consumed(EngineHarness.secret) == second)
        #expect(try await harness.record().current?.number == 2)
    }

    @Test func ofSeveralItIsTheOneThatWasCurrentLastWhateverItsNumber() async throws {
        let harness = try EngineHarness(policies: [EngineHarness.policy(grace: "9d")])
        try await harness.pass()
        let first = try #require(harness.staged.consumed(EngineHarness.secret))
        let engine = try await harness.engine()
        try await engine.request(try harness.name, compromised: false, actor: "ann")
        _ = try await engine.pass(only: [try harness.name])
        harness.time.set(harness.time.now().addingTimeInterval(3600))
        try await rollBack(harness)
        harness.time.set(harness.time.now().addingTimeInterval(3600))
        try await engine.request(try harness.name, compromised: false, actor: "ann")
        _ = try await engine.pass(only: [try harness.name])
        // 1 was serving before 3, and 2 is in its grace with the higher number.
        #expect(try await harness.record().versions.map(\.stage) == [.previous, .previous, .current])
        try await rollBack(harness)
        #expect(harness.staged.consumed(EngineHarness.secret) == first)
    }

    @Test func theScheduleCountsFromTheRollback() async throws {
        let (harness, _) = try await rotated()
        try await rollBack(harness)
        let rolledBackAt = harness.time.now()
        harness.time.set(rolledBackAt.addingTimeInterval(9 * Self.day))
        try await harness.pass()
        #expect(try await harness.record().versions.count == 2)
        // Its own expiry is on day 60, and 20 days before that it is renewed.
        harness.time.set(rolledBackAt.addingTimeInterval(10 * Self.day))
        try await harness.pass()
        #expect(try await harness.record().versions.count == 3)
    }

    @Test func aRenewalThatWouldBeDueAtOnceLeavesTimeToMend() async throws {
        let harness = try EngineHarness(policies: [EngineHarness.policy(every: "50d")])
        try await harness.pass()
        harness.time.set(harness.time.now().addingTimeInterval(40 * Self.day))
        try await harness.pass()
        try #require(try await harness.record().current?.number == 2)
        try await rollBack(harness)
        let rolledBackAt = harness.time.now()
        harness.time.set(rolledBackAt.addingTimeInterval(Self.day - 1))
        try await harness.pass()
        #expect(try await harness.record().versions.count == 2)
        harness.time.set(rolledBackAt.addingTimeInterval(Self.day))
        try await harness.pass()
        #expect(try await harness.record().versions.count == 3)
    }

    @Test func aDisabledKeyIsEnabledFirst() async throws {
        let (harness, first) = try await rotated(retirement: RetirementRule(observe: try PolicyDuration("3d")))
        harness.time.set(harness.time.now().addingTimeInterval(2 * Self.day))
        try await harness.pass()
        try #require(try await harness.record().version(1)?.stage == .disabled)
        #expect(!harness.issuer.accepts(first))
        try await rollBack(harness)
        #expect(harness.issuer.accepts(first))
        #expect(harness.direct.consumed(EngineHarness.secret) == first)
        #expect(try await harness.record().versions.map(\.stage) == [.current, .previous])
        let calls = harness.issuer.calls
        let enabled = try #require(calls.lastIndex(of: "enable"))
        let checked = try #require(calls.lastIndex(of: "check"))
        #expect(checked > enabled)
    }

    @Test func aKeyThatDoesNotWorkAnyMoreIsNotGivenToConsumers() async throws {
        let (harness, _) = try await rotated()
        let second = try #require(harness.staged.consumed(EngineHarness.secret))
        let keyID = try #require(await harness.record().version(1)?.keyID)
        try await harness.issuer.revoke(
            KeyHandle(secret: try harness.name, version: 1, keyID: keyID, material: nil, parameters: [:]))
        let outcomes = try await rollBack(harness)
        guard case .failed(let failure) = try #require(outcomes.first).result else {
            Issue.record("expected a failure")
            return
        }
        #expect(failure.step == "verify" && failure.message.contains("version 1"))
        let record = try await harness.record()
        #expect(record.rotation == nil && record.request == nil && record.quarantine == nil)
        #expect(record.versions.map(\.stage) == [.previous, .current])
        for backend in [harness.staged, harness.direct] { #expect(backend.consumed(EngineHarness.secret) == second) }
        #expect(try await kinds(harness).contains("rollback.refused"))
    }

    @Test func aRotationThatNobodyHasSeenIsUndoneFirst() async throws {
        let (harness, first) = try await rotated()
        harness.staged.fail("stage", with: [SystemError(.forbidden, "403")])
        let engine = try await harness.engine()
        try await engine.request(try harness.name, compromised: false, actor: "ann")
        _ = try await engine.pass(only: [try harness.name])
        #expect(try await harness.record().quarantine != nil)
        harness.time.set(harness.time.now().addingTimeInterval(60))
        try await rollBack(harness)
        let record = try await harness.record()
        #expect(record.quarantine == nil)
        #expect(record.versions.map(\.stage) == [.current, .previous, .abandoned])
        #expect(harness.issuer.keys.count == 2)
        #expect(harness.direct.consumed(EngineHarness.secret) == first)
    }

    @Test func pastTheFirstPromoteThereIsNoWayBack() async throws {
        let (harness, _) = try await rotated()
        harness.direct.fail("promote", with: [SystemError(.unavailable, "503")])
        let engine = try await harness.engine()
        try await engine.request(try harness.name, compromised: false, actor: "ann")
        _ = try await engine.pass(only: [try harness.name])
        try #require(try await harness.record().rotation?.machine.isPastFirstPromote == true)
        try await rollBack(harness)
        #expect(try await harness.record().request?.rollsBack != true)
        #expect(try await kinds(harness).contains("rollback.refused"))
        harness.time.set(harness.time.now().addingTimeInterval(3600))
        try await harness.pass()
        #expect(try await harness.record().current?.number == 3)
    }

    @Test func aForeignValueIsNotReplacedByARollback() async throws {
        let (harness, _) = try await rotated()
        harness.direct.overwrite(EngineHarness.secret, with: "by-hand")
        try await rollBack(harness)
        #expect(harness.direct.consumed(EngineHarness.secret) == "by-hand")
        #expect(try await harness.record().quarantine?.reason.contains("promote:direct") == true)
        #expect(harness.issuer.keys.count == 2, "both keys stay valid")
    }

    @Test func aBackendThatJoinedMeanwhileGetsTheOldVersionToo() async throws {
        let harness = try EngineHarness(policies: [EngineHarness.policy(staged: false)])
        try await harness.pass()
        let first = try #require(harness.direct.consumed(EngineHarness.secret))
        var joined = harness
        joined.policies = [try EngineHarness.policy(staged: true, digest: "joined")]
        harness.time.set(harness.time.now().addingTimeInterval(30 * Self.day))
        try await joined.pass()
        try await rollBack(joined)
        #expect(harness.staged.consumed(EngineHarness.secret) == first)
        #expect(harness.direct.consumed(EngineHarness.secret) == first)
    }

    @Test func aRollbackThatWasAskedForDuringAPauseWaits() async throws {
        let (harness, first) = try await rotated()
        harness.journal.markPaused(true, of: try harness.name, at: harness.time.now(), actor: "ann")
        try await rollBack(harness)
        #expect(try await harness.record().request?.rollsBack == true)
        harness.journal.markPaused(false, of: try harness.name, at: harness.time.now(), actor: "ann")
        try await harness.pass()
        #expect(harness.staged.consumed(EngineHarness.secret) == first)
    }
}
