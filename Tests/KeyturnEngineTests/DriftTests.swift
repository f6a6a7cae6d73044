import Foundation
import KeyturnCore
import KeyturnEngine
import TestSupport
import Testing

/// Backends that no longer hold what was promoted: found, told without a value, and put right through the engine.
@Suite struct DriftTests {
    static let day: TimeInterval = 86_400

    private func promoted() async throws -> EngineHarness {
        let harness = try EngineHarness()
        try await harness.pass()
        return harness
    }

    private func kinds(_ harness: EngineHarness) async throws -> [DriftFinding.Kind] {
        try await harness.engine().drift().findings.map(\.kind)
    }

    /// Asks for a repair and has it done by a fresh engine.
    private func repair(_ harness: EngineHarness) async throws {
        try await harness.engine().requestRepair(try harness.name, actor: "ann")
        _ = try await harness.engine().pass(only: [try harness.name])
    }

    private func write(_ version: Int, _ text: String) throws -> VersionWrite {
        VersionWrite(
            secret: try SecretName(EngineHarness.secret), version: version, value: SecretValue(utf8: text),
            receipt: [:],
            replaces: nil, instance: "i", generation: 1, expiresAt: nil, mayOverwrite: false)
    }

    private let place = BackendTarget(backend: "staged", path: EngineHarness.secret)

    @Test func nothingIsFoundWhereNothingHappened() async throws {
        let harness = try await promoted()
        let report = try await harness.engine().drift()
        #expect(report.findings.isEmpty)
        #expect(report.secrets == 1)
        #expect(report.places == 2)
        #expect(report.answered == 2)
        #expect(!report.reachedNothing)
    }

    @Test func lookingChangesNothing() async throws {
        let harness = try await promoted()
        harness.direct.overwrite(EngineHarness.secret, with: "foreign")
        let before = try await harness.record()
        let entries = harness.journal.entryCount
        _ = try await harness.engine().drift()
        #expect(try await harness.record() == before)
        #expect(harness.journal.entryCount == entries)
        #expect(harness.direct.consumed(EngineHarness.secret) == "foreign")
    }

    @Test func aForeignValueIsFoundAndReplacedOnlyWhereItIs() async throws {
        let harness = try await promoted()
        let value = try #require(harness.staged.consumed(EngineHarness.secret))
        harness.direct.overwrite(EngineHarness.secret, with: "foreign-value")
        let finding = try #require(try await harness.engine().drift().findings.first)
        #expect(finding.kind == .valueDiffers)
        #expect(finding.target.backend == "direct")
        #expect(finding.mend == "keyturn drift --repair \(EngineHarness.secret)")
        #expect(!finding.sentence.contains("foreign-value") && !finding.sentence.contains(value))
        let promotes = harness.staged.calls.count { $0 == "promote" }
        try await repair(harness)
        #expect(harness.direct.consumed(EngineHarness.secret) == value)
        #expect(harness.staged.calls.count { $0 == "promote" } == promotes)
        #expect(try await kinds(harness).isEmpty)
        let record = try await harness.record()
        #expect(record.repairSince == nil)
        #expect(record.versions.map(\.number) == [1])
        let started = try await harness.journal.auditEntries(of: nil, after: 0, limit: 1000).map(\.event).filter {
            $0.kind == "distribution.started"
        }
        #expect(started.map { $0.detail["backends"] } == ["direct"])
        #expect(started.map { $0.detail["reason"] } == ["repair"])
    }

    @Test func aRepairWithoutDriftWritesNothing() async throws {
        let harness = try await promoted()
        let promotes = harness.direct.calls.count { $0 == "promote" }
        try await repair(harness)
        #expect(harness.direct.calls.count { $0 == "promote" } == promotes)
        #expect(try await harness.record().repairSince == nil)
        #expect(try await harness.record().rotation == nil)
    }

    @Test func dyingAnywhereInARepairEndsRepaired() async throws {
        var instants = 0
        for instant in CrashPlan.Instant.allCases {
            for target in 0..<200 {
                let harness = try await promoted()
                harness.direct.overwrite(EngineHarness.secret, with: "foreign")
                try await harness.engine().requestRepair(try harness.name, actor: "ann")
                harness.plan.die(at: target, instant)
                _ = try? await harness.engine().pass(only: [try harness.name])
                let died = harness.plan.deathAt
                harness.plan.die(at: nil, instant)
                for _ in 0..<3 {
                    try await harness.pass()
                    harness.time.set(harness.time.now().addingTimeInterval(3600))
                }
                let context = "died at \(target) \(died ?? "-") \(instant)"
                let record = try await harness.record()
                #expect(
                    harness.direct.consumed(EngineHarness.secret) == harness.staged.consumed(EngineHarness.secret),
                    "\(context)")
                #expect(record.repairSince == nil && record.rotation == nil && record.quarantine == nil, "\(context)")
                #expect(record.unanswered.isEmpty, "\(context)")
                instants += 1
                guard died != nil else { break }
            }
        }
        #expect(instants > 10)
    }

    @Test func whatIsLeftOfARetiredVersionIsTakenAway() async throws {
        let harness = try await promoted()
        harness.time.set(harness.time.now().addingTimeInterval(30 * Self.day))
        try await harness.pass()
        harness.time.set(harness.time.now().addingTimeInterval(3 * Self.day))
        try await harness.pass()
        #expect(try await harness.record().version(1)?.stage == .retired)
        _ = try await harness.staged.stage(try write(1, "old"), at: place)
        _ = try await harness.staged.stage(try write(9, "future"), at: place)
        #expect(try await kinds(harness) == [.notPruned, .unknownVersion])
        try await repair(harness)
        // What the journal does not know may be of a state that came after a restored one: it is left alone.
        #expect(harness.staged.versions(EngineHarness.secret) == [2, 9])
        #expect(try await kinds(harness) == [.unknownVersion])
    }

    @Test func aPendingVersionOfAnAbandonedRotationIsTakenAway() async throws {
        let harness = try await promoted()
        harness.time.set(harness.time.now().addingTimeInterval(30 * Self.day))
        harness.issuer.refuseNextKeys(1)
        for _ in 0..<3 {
            try await harness.pass()
            harness.time.set(harness.time.now().addingTimeInterval(3600))
        }
        let abandoned = try #require(try await harness.record().versions.first { $0.stage == .abandoned })
        _ = try await harness.staged.stage(try write(abandoned.number, "pending"), at: place)
        #expect(try await kinds(harness) == [.pendingLeft])
        try await repair(harness)
        #expect(!harness.staged.versions(EngineHarness.secret).contains(abandoned.number))
        #expect(try await kinds(harness).isEmpty)
    }

    @Test func anotherVersionOfOursThatIsCurrent() async throws {
        let harness = try await promoted()
        harness.time.set(harness.time.now().addingTimeInterval(30 * Self.day))
        try await harness.pass()
        let first = try #require(
            harness.issuer.keys.map(\.text).first { $0 != harness.staged.consumed(EngineHarness.secret) })
        var back = try write(1, first)
        back = VersionWrite(
            secret: back.secret, version: 1, value: back.value, receipt: [:], replaces: nil, instance: "i",
            generation: 1, expiresAt: nil, mayOverwrite: true)
        _ = try await harness.staged.promote(back, at: place)
        let finding = try #require(try await harness.engine().drift().findings.first)
        #expect(finding.kind == .currentDisagrees)
        #expect(finding.sentence == "backend 'staged': version 1 is current there, and the journal says version 2")
        try await repair(harness)
        #expect(try await kinds(harness).isEmpty)
        #expect(harness.staged.consumed(EngineHarness.secret) == harness.direct.consumed(EngineHarness.secret))
    }

    @Test func whatDoesNotAnswerIsToldApart() async throws {
        let harness = try await promoted()
        let down = SystemError(.unreachable, "no connection")
        harness.direct.fail("read", with: [down])
        let one = try await harness.engine().drift()
        #expect(one.findings.map(\.kind) == [.notAsked])
        #expect(!one.isDrifted && one.isIncomplete && !one.reachedNothing)
        harness.direct.fail("read", with: [down])
        harness.staged.fail("read", with: [down])
        #expect(try await harness.engine().drift().reachedNothing)
    }

    @Test func aRotationThatMetAForeignValueMayReplaceIt() async throws {
        let harness = try await promoted()
        harness.time.set(harness.time.now().addingTimeInterval(30 * Self.day))
        harness.direct.overwrite(EngineHarness.secret, with: "foreign")
        try await harness.pass()
        #expect(try await harness.record().quarantine != nil)
        try await repair(harness)
        #expect(try await harness.record().repairSince == nil)
        #expect(harness.direct.consumed(EngineHarness.secret) == "foreign")
        try await harness.engine().release(try harness.name, actor: "ann")
        try await harness.pass()
        let record = try await harness.record()
        #expect(record.current?.number == 2)
        #expect(harness.direct.consumed(EngineHarness.secret) == harness.staged.consumed(EngineHarness.secret))
    }

    @Test func aRotationUnderWayIsNoDrift() async throws {
        let harness = try await promoted()
        harness.time.set(harness.time.now().addingTimeInterval(30 * Self.day))
        harness.direct.fail("promote", with: [SystemError(.unavailable, "in maintenance")])
        try await harness.pass()
        #expect(try await harness.record().rotation?.machine.progress(of: "staged")?.progress == .promoted)
        #expect(try await kinds(harness).isEmpty)
    }

    @Test func placesThatThePolicyLeftAreNotLookedAfter() async throws {
        var harness = try await promoted()
        harness.direct.overwrite(EngineHarness.secret, with: "foreign")
        let staged = harness.policies[0].backends.filter { $0.name == "staged" }
        let old = harness.policies[0]
        harness.policies = [
            Policy(
                secret: old.secret, issuer: old.issuer, issue: old.issue, lifetime: old.lifetime,
                rotation: old.rotation,
                grace: old.grace, backends: staged, origin: old.origin)
        ]
        #expect(try await kinds(harness).isEmpty)
    }
}
