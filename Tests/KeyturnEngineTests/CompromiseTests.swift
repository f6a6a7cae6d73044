import Foundation
import KeyturnCore
import KeyturnEngine
import TestSupport
import Testing

@Suite struct CompromiseTests {
    private static let day: TimeInterval = 86_400
    private static let first = RetirementRule(onCompromise: .revokeFirst)

    private func compromise(_ harness: EngineHarness, _ names: [String] = [EngineHarness.secret]) async throws {
        let engine = try await harness.engine()
        let secrets = try names.map { try SecretName($0) }
        for secret in secrets { try await engine.request(secret, compromised: true, actor: "ann") }
        _ = try await engine.pass(only: secrets)
    }

    @Test func everyOlderVersionThatWorksGoesToo() async throws {
        let harness = try EngineHarness()
        try await harness.pass()
        harness.time.set(harness.time.now().addingTimeInterval(30 * Self.day))
        try await harness.pass()
        try #require(harness.issuer.keys.count == 2)
        try await compromise(harness)
        #expect(harness.issuer.keys.count == 1)
        let record = try await harness.record()
        #expect(record.versions.map(\.stage) == [.retired, .retired, .current])
        #expect(record.versions.map(\.tainted) == [true, true, false])
    }

    @Test func whereTheIssuerHasNoRoomAnOlderCompromisedKeyMakesIt() async throws {
        let harness = try EngineHarness(keyLimit: 2)
        try await harness.pass()
        harness.time.set(harness.time.now().addingTimeInterval(30 * Self.day))
        try await harness.pass()
        try await compromise(harness)
        #expect(try await harness.record().versions.map(\.stage) == [.retired, .retired, .current])
    }

    @Test func aCompromisedVersionIsNeverCurrentAgain() async throws {
        let harness = try EngineHarness()
        try await harness.pass()
        harness.issuer.fail("revoke", with: [SystemError(.unavailable, "503")])
        try await compromise(harness)
        try #require(try await harness.record().versions.map(\.stage) == [.previous, .current])
        let second = harness.staged.consumed(EngineHarness.secret)
        let engine = try await harness.engine()
        try await engine.requestRollback(of: try harness.name, actor: "bob")
        let outcomes = try await engine.pass(only: [try harness.name])
        guard case .failed(let failure) = try #require(outcomes.first).result else {
            Issue.record("expected a refusal")
            return
        }
        #expect(failure.step == "rollback" && failure.message.contains("compromised"))
        #expect(harness.staged.consumed(EngineHarness.secret) == second)
    }

    @Test func usuallyTheNewKeyIsCurrentBeforeTheOldOneGoes() async throws {
        let harness = try EngineHarness()
        try await harness.pass()
        try await compromise(harness)
        let calls = harness.issuer.calls
        let issued = try #require(calls.lastIndex(of: "issue"))
        let revoked = try #require(calls.lastIndex(of: "revoke"))
        #expect(issued < revoked)
    }

    @Test func wherePoliciesSaySoTheOldKeyGoesBeforeTheNewOneIsMade() async throws {
        let harness = try EngineHarness(policies: [EngineHarness.policy(retirement: Self.first)])
        try await harness.pass()
        harness.time.set(harness.time.now().addingTimeInterval(30 * Self.day))
        try await harness.pass()
        let olds = harness.issuer.keys.map(\.text)
        try await compromise(harness)
        let calls = harness.issuer.calls
        #expect(calls.count { $0 == "revoke" } == 2)
        let issued = try #require(calls.lastIndex(of: "issue"))
        let revoked = try #require(calls.lastIndex(of: "revoke"))
        #expect(revoked < issued)
        for old in olds { #expect(!harness.issuer.accepts(old)) }
        #expect(try await harness.record().versions.map(\.stage) == [.retired, .retired, .current])
        let current = try #require(harness.direct.consumed(EngineHarness.secret))
        #expect(harness.issuer.accepts(current))
    }

    @Test func anOldKeyIsRevokedFirstAlsoWhileItsReplacementCantBeMade() async throws {
        let harness = try EngineHarness(policies: [EngineHarness.policy(retirement: Self.first)])
        try await harness.pass()
        let old = try #require(harness.direct.consumed(EngineHarness.secret))
        harness.direct.fail("probe", with: Array(repeating: SystemError(.unreachable, "down"), count: 3))
        try await compromise(harness)
        #expect(!harness.issuer.accepts(old))
        let record = try await harness.record()
        #expect(record.current?.number == 1 && record.current?.isRevoked == true)
        #expect(harness.issuer.keys.isEmpty)
        // It is not revoked a second time, and the rest follows.
        harness.direct.fail("probe", with: [])
        harness.time.set(harness.time.now().addingTimeInterval(3600))
        try await harness.pass()
        #expect(try await harness.record().versions.map(\.stage) == [.retired, .current])
        #expect(harness.issuer.calls.count { $0 == "revoke" } == 1)
    }

    @Test func revokingFirstMakesRoomAtTheIssuer() async throws {
        let harness = try EngineHarness(keyLimit: 1, policies: [EngineHarness.policy(retirement: Self.first)])
        try await harness.pass()
        try await compromise(harness)
        #expect(try await harness.record().versions.map(\.stage) == [.retired, .current])
    }

    @Test func onlyACompromisedKeyIsRevokedFirst() async throws {
        let harness = try EngineHarness(policies: [EngineHarness.policy(retirement: Self.first)])
        try await harness.pass()
        let old = try #require(harness.direct.consumed(EngineHarness.secret))
        let engine = try await harness.engine()
        try await engine.request(try harness.name, compromised: false, actor: "ann")
        _ = try await engine.pass(only: [try harness.name])
        #expect(harness.issuer.accepts(old))
    }

    @Test func severalGoInTheOrderThatPoliciesGive() async throws {
        let harness = try EngineHarness(policies: [
            EngineHarness.policy("team/a", after: ["team/b"]), EngineHarness.policy("team/b", after: ["team/c"]),
            EngineHarness.policy("team/c"),
        ])
        try await harness.pass()
        try await compromise(harness, ["team/a", "team/b", "team/c"])
        let entries = try await harness.journal.auditEntries(of: nil, after: 0, limit: 10_000).map(\.event)
        let promoted = entries.filter { $0.kind == "version.promoted" && $0.version == 2 }
        #expect(promoted.map(\.secret?.text) == ["team/c", "team/b", "team/a"])
        for secret in ["team/a", "team/b", "team/c"] {
            #expect(try await harness.record(secret).versions.map(\.stage) == [.retired, .current])
        }
    }

    @Test func aCompromisedVersionIsPutIntoNoFurtherPlace() async throws {
        let harness = try EngineHarness(policies: [EngineHarness.policy(staged: false)])
        try await harness.pass()
        var joined = harness
        joined.policies = [try EngineHarness.policy(staged: true, digest: "joined")]
        harness.staged.fail("promote", with: [SystemError(.unavailable, "503")])
        try await joined.pass()
        try #require(try await harness.record().rotation != nil)
        try await compromise(joined)
        #expect(try await harness.record().versions.map(\.stage) == [.retired, .current])
        #expect(harness.staged.versions(EngineHarness.secret) == [2])
    }

    @Test func aPauseHoldsWhatIsCompromisedToo() async throws {
        let harness = try EngineHarness()
        try await harness.pass()
        let now = harness.time.now()
        try await harness.journal.setSwitch(
            PauseSwitch(scope: .everything, since: now, reason: "wait", actor: "ann"))
        try await compromise(harness)
        var record = try await harness.record()
        #expect(record.versions.map(\.stage) == [.current])
        #expect(record.current?.tainted == true, "it is marked, which has no effect outside")
        _ = try await harness.engine().lift(.everything, actor: "ann")
        try await harness.pass()
        record = try await harness.record()
        #expect(record.versions.map(\.stage) == [.retired, .current])
    }

    @Test func whatHeldTheKeyIsReported() async throws {
        let harness = try EngineHarness(policies: [EngineHarness.policy(directRequired: false)])
        try await harness.pass()
        let engine = try await harness.engine()
        let suspects = try await engine.suspects(of: [try harness.name])
        harness.direct.fail("promote", with: [SystemError(.forbidden, "403")])
        try await compromise(harness)
        let exposure = try #require(await engine.exposures(of: suspects).first)
        #expect(exposure.version == 1 && exposure.issuerState == .refused)
        let places = Dictionary(uniqueKeysWithValues: exposure.places.map { ($0.target.backend, $0) })
        #expect(places["staged"]?.holding == .no && places["staged"]?.isPruned == true)
        // A best-effort backend was left behind with the old value.
        #expect(places["direct"]?.holding == .current)
        #expect(places["direct"]?.required == false && places["direct"]?.isInPolicy == true)
    }

    @Test func whatCantBeAskedIsReportedAsNotKnown() async throws {
        let harness = try EngineHarness()
        try await harness.pass()
        let engine = try await harness.engine()
        let suspects = try await engine.suspects(of: [try harness.name])
        harness.issuer.fail("revoke", with: [SystemError(.unavailable, "it is down")])
        try await compromise(harness)
        harness.staged.fail("read", with: [SystemError(.unreachable, "no answer")])
        var left = harness
        left.policies = [try EngineHarness.policy(staged: false, digest: "left")]
        let exposure = try #require(await left.engine().exposures(of: suspects).first)
        #expect(exposure.issuerState == .notYet && exposure.issuerReason == "it is down")
        let staged = try #require(exposure.places.first { $0.target.backend == "staged" })
        #expect(staged.holding == .unknown && staged.reason == "no answer" && !staged.isInPolicy)
        let direct = try #require(exposure.places.first { $0.target.backend == "direct" })
        #expect(direct.holding == .stored, "it is not pruned before it is revoked")
    }
}
