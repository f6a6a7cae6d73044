import Foundation
import KeyturnCore
import KeyturnEngine
import TestSupport
import Testing

@Suite struct RotationTests {
    static let day: TimeInterval = 86_400

    @Test func firstPassIssuesAndPromotesEverywhere() async throws {
        let harness = try EngineHarness()
        let outcomes = try await harness.pass()
        let record = try await harness.record()
        #expect(record.versions.map(\.stage) == [.current])
        #expect(record.rotation == nil)
        let staged = try #require(harness.staged.consumed(EngineHarness.secret))
        #expect(harness.direct.consumed(EngineHarness.secret) == staged)
        #expect(harness.issuer.accepts(staged))
        #expect(outcomes.count == 1)
        guard case .rotated = outcomes[0].result else {
            Issue.record("not rotated: \(outcomes[0].result)")
            return
        }
    }

    @Test func nothingHappensBeforeItIsDue() async throws {
        let harness = try EngineHarness()
        try await harness.pass()
        let calls = harness.issuer.calls.count
        harness.time.set(harness.time.now().addingTimeInterval(29 * Self.day))
        let outcomes = try await harness.pass()
        #expect(outcomes.isEmpty)
        #expect(harness.issuer.calls.count == calls)
    }

    @Test func rotatesWhenDueAndRetiresAfterTheGraceAndNotBefore() async throws {
        let harness = try EngineHarness()
        try await harness.pass()
        let first = try #require(harness.staged.consumed(EngineHarness.secret))
        harness.time.set(harness.time.now().addingTimeInterval(30 * Self.day))
        try await harness.pass()
        let second = try #require(harness.staged.consumed(EngineHarness.secret))
        #expect(second != first)
        #expect(harness.issuer.accepts(first))
        #expect(try await harness.record().versions.map(\.stage) == [.previous, .current])
        harness.time.set(harness.time.now().addingTimeInterval(2 * Self.day - 1))
        try await harness.pass()
        #expect(harness.issuer.accepts(first))
        harness.time.set(harness.time.now().addingTimeInterval(1))
        try await harness.pass()
        #expect(!harness.issuer.accepts(first))
        let record = try await harness.record()
        #expect(record.versions.map(\.stage) == [.retired, .current])
        #expect(record.versions.first?.sealed == nil)
        #expect(harness.staged.versions(EngineHarness.secret) == [2])
        #expect(harness.issuer.keys.count == 1)
    }

    @Test func lateStartRotatesOnce() async throws {
        let harness = try EngineHarness()
        try await harness.pass()
        harness.time.set(harness.time.now().addingTimeInterval(45 * Self.day))
        try await harness.pass()
        try await harness.pass()
        #expect(try await harness.record().versions.count == 2)
    }

    @Test func aPassingFailureResumesWithTheSameKey() async throws {
        let harness = try EngineHarness()
        harness.direct.fail("promote", with: [SystemError(.unavailable, "503")])
        let outcomes = try await harness.pass()
        guard case .failed(let failure) = try #require(outcomes.first).result else {
            Issue.record("expected a failure")
            return
        }
        #expect(failure.step == "promote:direct")
        #expect(failure.code == .unavailable)
        let keys = harness.issuer.keys
        // One failing target does not hold up the other.
        #expect(harness.staged.consumed(EngineHarness.secret) == keys.first?.text)
        harness.time.set(harness.time.now().addingTimeInterval(3600))
        try await harness.pass()
        #expect(harness.issuer.keys == keys)
        #expect(harness.direct.consumed(EngineHarness.secret) == keys.first?.text)
        #expect(try await harness.record().current?.number == 1)
        #expect(harness.sink.kinds == [.rotationFailed, .recovered])
    }

    @Test func aPassWithPatienceWaitsForTheNextTryOfARetirement() async throws {
        var harness = try EngineHarness()
        try await harness.pass()
        harness.time.set(harness.time.now().addingTimeInterval(31 * Self.day))
        try await harness.pass()
        harness.time.set(harness.time.now().addingTimeInterval(3 * Self.day))
        harness.issuer.fail("revoke", with: [SystemError(.unavailable, "503"), SystemError(.unavailable, "503")])
        harness.settings.inlineWait = 600
        let outcomes = try await harness.pass()
        #expect(try await harness.record().version(1)?.stage == .retired)
        #expect(outcomes.map(\.retired) == [1])
        guard case .nothingDue = try #require(outcomes.first).result else {
            Issue.record("what went well in the end is told as a failure")
            return
        }
    }

    @Test func aPassWithPatienceTakesUpARetirementThatFailedInAnEarlierOne() async throws {
        var harness = try EngineHarness()
        try await harness.pass()
        harness.time.set(harness.time.now().addingTimeInterval(31 * Self.day))
        try await harness.pass()
        harness.time.set(harness.time.now().addingTimeInterval(3 * Self.day))
        harness.issuer.fail("revoke", with: [SystemError(.unavailable, "503")])
        guard case .failed = try #require(await harness.pass().first).result else {
            Issue.record("expected a failure")
            return
        }
        harness.settings.inlineWait = 600
        try await harness.pass()
        #expect(try await harness.record().version(1)?.stage == .retired)
    }

    @Test func retryAfterIsObeyed() async throws {
        let harness = try EngineHarness()
        harness.direct.fail("promote", with: [SystemError(.rateLimited, "429", retryAfter: 1234)])
        try await harness.pass()
        let next = try #require(await harness.record().rotation?.nextAttempt)
        #expect(next.timeIntervalSince(harness.time.now()) >= 1233.9)
        let calls = harness.direct.calls.count
        harness.time.set(harness.time.now().addingTimeInterval(1200))
        try await harness.pass()
        #expect(harness.direct.calls.count == calls)
    }

    @Test func aPermanentFailureQuarantinesAndResumesWithTheSameKey() async throws {
        let harness = try EngineHarness()
        harness.direct.fail("promote", with: [SystemError(.forbidden, "403", advice: "grant it")])
        try await harness.pass()
        #expect(try await harness.record().quarantine != nil)
        let keys = harness.issuer.keys
        harness.time.set(harness.time.now().addingTimeInterval(10 * Self.day))
        try await harness.pass()
        #expect(try await harness.record().quarantine != nil)
        let engine = try await harness.engine()
        try await engine.release(try harness.name, actor: "someone")
        _ = try await engine.pass()
        #expect(harness.issuer.keys == keys)
        #expect(try await harness.record().current?.number == 1)
        #expect(harness.sink.kinds.contains(.quarantined))
    }

    @Test func aProbeThatFailsPreventsTheIssue() async throws {
        let harness = try EngineHarness()
        harness.direct.fail("probe", with: [SystemError(.unreachable, "refused")])
        try await harness.pass()
        #expect(harness.issuer.keys.isEmpty)
        #expect(!harness.issuer.calls.contains("issue"))
    }

    @Test func aRefusedKeyIsUndoneAndIssuedAnewABoundedNumberOfTimes() async throws {
        let harness = try EngineHarness()
        harness.issuer.refuseNextKeys(2)
        try await harness.pass()
        let record = try await harness.record()
        #expect(record.versions.map(\.stage) == [.abandoned, .abandoned, .current])
        #expect(harness.issuer.keys.count == 1)

        let hopeless = try EngineHarness()
        hopeless.issuer.refuseNextKeys(100)
        try await hopeless.pass()
        #expect(hopeless.issuer.keys.isEmpty)
        #expect(try await hopeless.record().quarantine != nil)
        #expect(hopeless.issuer.calls.count { $0 == "issue" } == EngineSettings().maximumReissues)
    }

    @Test func aSlowKeyIsAskedAboutUntilItWorksTwice() async throws {
        let harness = try EngineHarness()
        harness.issuer.delayNewKeys(byChecks: 3)
        try await harness.pass()
        #expect(try await harness.record().current?.number == 1)
        #expect(harness.issuer.calls.count { $0 == "check" } == 5)
    }

    @Test func staleReadsAreWaitedFor() async throws {
        let harness = try EngineHarness()
        try await harness.pass()
        harness.time.set(harness.time.now().addingTimeInterval(30 * Self.day))
        harness.direct.beStale(forReads: 3)
        try await harness.pass()
        #expect(try await harness.record().current?.number == 2)
    }

    @Test func aForeignValueIsNotOverwritten() async throws {
        let harness = try EngineHarness()
        try await harness.pass()
        harness.direct.overwrite(EngineHarness.secret, with: "by-hand")
        harness.time.set(harness.time.now().addingTimeInterval(30 * Self.day))
        try await harness.pass()
        #expect(harness.direct.consumed(EngineHarness.secret) == "by-hand")
        #expect(try await harness.record().quarantine?.reason.contains("issue: backend 'direct'") == true)
        // It is found before a key is made.
        #expect(harness.issuer.keys.count == 1)
    }

    @Test func aForeignValueThatAppearsMeanwhileIsNotOverwritten() async throws {
        let harness = try EngineHarness()
        try await harness.pass()
        harness.time.set(harness.time.now().addingTimeInterval(30 * Self.day))
        harness.issuer.delayNewKeys(byChecks: 12)
        try await harness.pass()
        harness.direct.overwrite(EngineHarness.secret, with: "by-hand")
        harness.issuer.delayNewKeys(byChecks: 0)
        for _ in 0..<12 {
            harness.time.set(harness.time.now().addingTimeInterval(900))
            try await harness.pass()
        }
        #expect(harness.direct.consumed(EngineHarness.secret) == "by-hand")
        #expect(try await harness.record().quarantine?.reason.contains("promote:direct") == true)
        // Past the first promote there is no way back: both keys stay valid.
        #expect(harness.issuer.keys.count == 2)
    }

    @Test func aLostAnswerToIssueLeavesNoOrphan() async throws {
        for kind in [IssuerKind.listable, .chosen] {
            let harness = try EngineHarness(kind: kind)
            harness.issuer.fail("issue", with: [SystemError(.timedOut, "no answer", mayHaveTakenEffect: true)])
            try await harness.pass()
            #expect(harness.issuer.keys.count == 1)
            harness.time.set(harness.time.now().addingTimeInterval(3600))
            try await harness.pass()
            let record = try await harness.record()
            #expect(record.current != nil)
            #expect(harness.issuer.keys.count == 1, "\(kind)")
            #expect(try await harness.journal.orphans().isEmpty)
        }
    }

    @Test func aLostAnswerOfAnUnlistableIssuerIsReported() async throws {
        let harness = try EngineHarness(kind: .unlistable)
        harness.issuer.fail("issue", with: [SystemError(.timedOut, "no answer", mayHaveTakenEffect: true)])
        try await harness.pass()
        harness.time.set(harness.time.now().addingTimeInterval(3600))
        try await harness.pass()
        let orphans = try await harness.journal.orphans()
        #expect(orphans.map(\.state) == [.possible])
        #expect(orphans.first?.until != nil)
        #expect(harness.sink.kinds.contains(.possibleOrphan))
        #expect(try await harness.record().current != nil)
    }

    /// What is found in the journal after a sync that failed, be it the key or the intent, is no key that is gone.
    @Test(
        arguments: [IssuerKind.listable, .unlistable, .chosen], [true, false])
    func aKeyWhoseRecordMayBeWrittenIsNotRevoked(kind: IssuerKind, isWritten: Bool) async throws {
        for count in 1...20 {
            for skipped in 0..<20 {
                let harness = try EngineHarness(kind: kind)
                harness.journal.failSyncs(after: skipped, count, isWritten: isWritten)
                _ = try? await harness.pass()
                harness.journal.failSyncs(after: 0, 0, isWritten: false)
                if let version = try await harness.journal.record(of: harness.name)?.versions.last {
                    let held = harness.issuer.keys.map(\.id)
                    #expect(version.keyID.map(held.contains) == true, "\(kind), \(count) failures after \(skipped)")
                }
                for _ in 0..<3 {
                    harness.time.set(harness.time.now().addingTimeInterval(3600))
                    try await harness.pass()
                }
                let record = try await harness.record()
                #expect(record.current != nil && record.rotation == nil && record.quarantine == nil)
                let orphans = try await harness.journal.orphans().count
                #expect(harness.issuer.keys.count <= 1 + (kind == .unlistable ? orphans : 0))
            }
        }
    }

    /// As after a restored backup: the state knows of a key that was asked for, consumers are served it.
    @Test(arguments: [true, false]) func aKeyThatIsServedIsNotRevokedForLackOfARecord(isFirst: Bool) async throws {
        let harness = try EngineHarness(kind: .listable)
        if !isFirst {
            try await harness.pass()
            harness.time.set(harness.time.now().addingTimeInterval(30 * Self.day))
        }
        let before = try await harness.journal.record(of: harness.name)
        harness.issuer.fail("issue", with: [SystemError(.timedOut, "no answer", mayHaveTakenEffect: true)])
        try await harness.pass()
        #expect(try await harness.record().rotation?.issueIntent != nil)
        let served = try #require(harness.issuer.keys.last)
        harness.direct.overwrite(EngineHarness.secret, with: "the key that was asked for")
        harness.time.set(harness.time.now().addingTimeInterval(3600))
        try await harness.pass()
        #expect(harness.issuer.keys.map(\.id).contains(served.id))
        let record = try await harness.record()
        #expect(record.quarantine?.reason.contains("serves a value that the journal does not know") == true)
        #expect(try await harness.journal.orphans().map(\.state) == [.undecided])
        #expect(record.current?.number == before?.current?.number)
    }

    @Test func oneFailedSyncCostsNoKey() async throws {
        let harness = try EngineHarness(kind: .unlistable)
        // The fourth commit of the first rotation records the key.
        harness.journal.failSyncs(after: 3, 1, isWritten: false)
        try await harness.pass()
        #expect(try await harness.record().current?.number == 1)
        #expect(harness.issuer.calls.count { $0 == "issue" } == 1)
    }

    @Test func aListThatIsLateCostsNoAttempt() async throws {
        let harness = try EngineHarness(kind: .listable)
        harness.issuer.fail("issue", with: [SystemError(.timedOut, "no answer", mayHaveTakenEffect: true)])
        try await harness.pass()
        let waits = 30
        let early = SystemError(.notYet, "it is too early to tell", retryAfter: 5)
        harness.issuer.fail("resolve", with: Array(repeating: early, count: waits))
        var dueAt = try #require(await harness.record().rotation?.nextAttempt)
        for wait in 0..<waits {
            harness.time.set(dueAt)
            try await harness.pass()
            let rotation = try #require(await harness.record().rotation)
            #expect(rotation.attempt == 1, "wait \(wait)")
            let next = try #require(rotation.nextAttempt)
            #expect((4.9...5.1).contains(next.timeIntervalSince(dueAt)), "wait \(wait)")
            dueAt = next
        }
        #expect(try await harness.record().quarantine == nil)
        harness.time.set(dueAt)
        try await harness.pass()
        #expect(try await harness.record().current?.number == 1)
    }

    @Test func theKeyLimitIsRespected() async throws {
        var harness = try EngineHarness(keyLimit: 2)
        harness.policies = [try EngineHarness.policy(every: "3d", grace: "2d")]
        for day in 0..<20 {
            try await harness.pass()
            #expect(harness.issuer.keys.count <= 2, "day \(day)")
            let consumed = try #require(harness.direct.consumed(EngineHarness.secret))
            #expect(harness.issuer.accepts(consumed))
            harness.time.set(harness.time.now().addingTimeInterval(Self.day))
        }
        #expect(try await harness.record().versions.count >= 6)
    }

    @Test func bestEffortBackendsHoldNothingUp() async throws {
        var harness = try EngineHarness()
        harness.policies = [try EngineHarness.policy(directRequired: false)]
        harness.direct.fail("promote", with: [SystemError(.forbidden, "403")])
        try await harness.pass()
        #expect(try await harness.record().current?.number == 1)
        #expect(harness.staged.consumed(EngineHarness.secret) != nil)
        #expect(harness.sink.kinds == [.rotationFailed])
    }

    @Test func compromisedSkipsTheGrace() async throws {
        let harness = try EngineHarness()
        try await harness.pass()
        let first = try #require(harness.staged.consumed(EngineHarness.secret))
        let engine = try await harness.engine()
        try await engine.request(try harness.name, compromised: true, actor: "someone")
        _ = try await engine.pass(only: [try harness.name])
        #expect(!harness.issuer.accepts(first))
        #expect(try await harness.record().versions.map(\.stage) == [.retired, .current])
        #expect(try await harness.record().versions.first?.tainted == true)
    }

    @Test func aBackendThatJoinsGetsTheCurrentVersion() async throws {
        let harness = try EngineHarness(policies: [EngineHarness.policy(staged: false)])
        try await harness.pass()
        let promotedAt = try await harness.record().current?.promotedAt
        var joined = harness
        joined.policies = [try EngineHarness.policy(staged: true, digest: "joined")]
        try await joined.pass()
        let record = try await joined.record()
        #expect(record.current?.number == 1)
        #expect(record.current?.promotedAt == promotedAt)
        #expect(record.rotation == nil)
        #expect(harness.issuer.keys.count == 1)
        #expect(harness.staged.consumed(EngineHarness.secret) == harness.direct.consumed(EngineHarness.secret))
    }

    @Test func anAdoptedKeyGoesToEveryBackendAndIsNotRotated() async throws {
        let harness = try EngineHarness()
        let engine = try await harness.engine()
        let key = IssuedKey(
            material: KeyMaterial(value: SecretValue(utf8: "from-the-console")), keyID: "console",
            issuedAt: harness.time.now(), expiresAt: harness.time.now().addingTimeInterval(40 * 86_400))
        try await engine.adopt(key, as: try harness.name, actor: "someone")
        try await harness.pass()
        #expect(harness.staged.consumed(EngineHarness.secret) == "from-the-console")
        #expect(harness.direct.consumed(EngineHarness.secret) == "from-the-console")
        #expect(harness.issuer.keys.isEmpty)
        #expect(try await harness.record().current?.number == 1)
    }

    @Test func aRequestWhileARotationIsUnderWayIsFulfilledByIt() async throws {
        let harness = try EngineHarness()
        try await harness.pass()
        harness.time.set(harness.time.now().addingTimeInterval(31 * 86_400))
        harness.direct.fail("promote", with: [SystemError(.unavailable, "down")])
        try await harness.pass()
        #expect(try await harness.record().rotation?.version == 2)
        let engine = try await harness.engine()
        try await engine.request(try harness.name, compromised: true, actor: "someone")
        harness.time.set(harness.time.now().addingTimeInterval(3600))
        try await harness.pass()
        let record = try await harness.record()
        #expect(record.current?.number == 2)
        #expect(record.request == nil)
        // The compromised one got no grace.
        #expect(record.version(1)?.stage == .retired)
        #expect(harness.issuer.keys.count == 1)
    }

    @Test func lostAnswersOfAnUnlistableIssuerEndWithAPerson() async throws {
        let harness = try EngineHarness(kind: .unlistable)
        let lost = SystemError(.timedOut, "no answer", mayHaveTakenEffect: true)
        harness.issuer.fail("issue", with: Array(repeating: lost, count: 10))
        for _ in 0..<20 {
            try await harness.pass()
            harness.time.set(harness.time.now().addingTimeInterval(1800))
        }
        #expect(try await harness.record().quarantine != nil)
        #expect(harness.issuer.keys.count == 3)
        #expect(try await harness.journal.orphans().count == 3)
    }

    @Test func pausedSecretsRest() async throws {
        let harness = try EngineHarness()
        try await harness.pass()
        try await harness.journal.setPaused(true, of: try harness.name, at: harness.time.now(), actor: "someone")
        harness.time.set(harness.time.now().addingTimeInterval(35 * Self.day))
        try await harness.pass()
        #expect(try await harness.record().versions.count == 1)
        try await harness.journal.setPaused(false, of: try harness.name, at: harness.time.now(), actor: "someone")
        try await harness.pass()
        #expect(try await harness.record().versions.count == 2)
    }

    @Test func anEditedScheduleDoesNotRotateAtOnce() async throws {
        var harness = try EngineHarness()
        try await harness.pass()
        harness.time.set(harness.time.now().addingTimeInterval(20 * Self.day))
        harness.policies = [try EngineHarness.policy(every: "10d")]
        try await harness.pass()
        #expect(try await harness.record().versions.count == 1)
        harness.time.set(harness.time.now().addingTimeInterval(Self.day))
        try await harness.pass()
        #expect(try await harness.record().versions.count == 2)
    }

    @Test func aPolicyThatAsksForAnotherKeyAbandonsThePendingOne() async throws {
        var harness = try EngineHarness()
        harness.staged.fail("stage", with: [SystemError(.unavailable, "503")])
        try await harness.pass()
        #expect(harness.issuer.keys.count == 1)
        harness.policies = [try EngineHarness.policy(issueDigest: "other")]
        harness.time.set(harness.time.now().addingTimeInterval(3600))
        try await harness.pass()
        let record = try await harness.record()
        #expect(record.versions.map(\.stage) == [.abandoned, .current])
        #expect(harness.issuer.keys.count == 1)
    }

    @Test func successorsWaitForTheirPredecessors() async throws {
        var harness = try EngineHarness()
        harness.policies = [
            try EngineHarness.policy("a/second", after: ["b/first"]), try EngineHarness.policy("b/first"),
        ]
        try await harness.pass()
        let first = try #require(await harness.record("b/first").current?.promotedAt)
        let second = try #require(await harness.record("a/second").current)
        #expect(try #require(second.promotedAt) >= first)
        let entries = try await harness.journal.auditEntries(of: nil, after: 0, limit: 1000)
        let started = entries.filter { $0.event.kind == "rotation.started" }.compactMap { $0.event.secret?.text }
        #expect(started == ["b/first", "a/second"])
    }

    @Test func whenUnusedHoldsTheOldKeyAndDisableComesBeforeRevoke() async throws {
        var harness = try EngineHarness()
        harness.policies = [
            try EngineHarness.policy(
                retirement: RetirementRule(whenUnused: try PolicyDuration("6h"), observe: try PolicyDuration("24h")))
        ]
        try await harness.pass()
        let first = try #require(harness.staged.consumed(EngineHarness.secret))
        harness.time.set(harness.time.now().addingTimeInterval(30 * Self.day))
        try await harness.pass()
        harness.time.set(harness.time.now().addingTimeInterval(2 * Self.day))
        harness.issuer.use(first, at: harness.time.now().addingTimeInterval(-3600))
        try await harness.pass()
        #expect(harness.issuer.accepts(first))
        harness.time.set(harness.time.now().addingTimeInterval(5 * 3600))
        try await harness.pass()
        #expect(!harness.issuer.accepts(first))
        #expect(try await harness.record().versions.first?.stage == .disabled)
        #expect(harness.issuer.keys.count == 2)
        harness.time.set(harness.time.now().addingTimeInterval(Self.day))
        try await harness.pass()
        #expect(harness.issuer.keys.count == 1)
        #expect(try await harness.record().versions.first?.stage == .retired)
    }

    @Test func theOldKeyStaysWhileABackendHasAnotherValue() async throws {
        let harness = try EngineHarness()
        try await harness.pass()
        let first = try #require(harness.staged.consumed(EngineHarness.secret))
        harness.time.set(harness.time.now().addingTimeInterval(30 * Self.day))
        try await harness.pass()
        harness.direct.overwrite(EngineHarness.secret, with: first)
        harness.time.set(harness.time.now().addingTimeInterval(3 * Self.day))
        try await harness.pass()
        harness.time.set(harness.time.now().addingTimeInterval(Self.day))
        try await harness.pass()
        #expect(harness.issuer.accepts(first))
        #expect(harness.sink.kinds.contains(.retireBlocked))
    }
}
