import Foundation
import KeyturnCore
import KeyturnEngine
import TestSupport
import Testing

/// A rotation that is given up takes its version out of every backend that may hold it.
@Suite struct UndoneStagingTests {
    @Test func aStageWhoseAnswerWasLostIsUndone() async throws {
        var harness = try EngineHarness()
        harness.staged.fail("stage", with: [SystemError(.timedOut, "no answer", mayHaveTakenEffect: true)])
        try await harness.pass()
        #expect(harness.staged.versions(EngineHarness.secret) == [1])
        harness.policies = [try EngineHarness.policy(issueDigest: "another key")]
        harness.time.set(harness.time.now().addingTimeInterval(3600))
        try await harness.pass()
        #expect(try await harness.record().versions.map(\.stage) == [.abandoned, .current])
        #expect(harness.staged.versions(EngineHarness.secret) == [2])
        #expect(harness.issuer.keys.count == 1)
    }

    /// What it keeps is dead and was never seen.
    @Test func aBestEffortBackendThatCannotBeReachedIsLeftBehind() async throws {
        let policy = try EngineHarness.policy(directRequired: false)
        let bestEffort = PolicyBackend(
            target: BackendTarget(backend: "staged", path: EngineHarness.secret), required: false)
        let swapped = policy.with(backends: [bestEffort, try #require(policy.backends.last)])
        var harness = try EngineHarness(policies: [swapped])
        harness.issuer.refuseNextKeys(1)
        harness.staged.fail("unstage", with: [SystemError(.forbidden, "403")])
        harness.settings.verifyPatience = 10
        try await harness.pass()
        let record = try await harness.record()
        #expect(record.quarantine == nil)
        #expect(record.versions.map(\.stage) == [.abandoned, .current])
    }
}

extension Policy {
    fileprivate func with(backends: [PolicyBackend]) -> Policy {
        Policy(
            secret: secret, issuer: issuer, issue: issue, lifetime: lifetime, rotation: rotation, grace: grace,
            backends: backends, checks: checks, retirement: retirement, after: after, origin: origin)
    }
}
