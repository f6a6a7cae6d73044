import Foundation
import KeyturnCore
import KeyturnEngine
import TestSupport
import Testing

/// A backend that leaves a policy and joins it again shows a value of ours that is not the one before the current.
@Suite struct RejoiningBackendTests {
    @Test func itGetsTheCurrentVersionInThePlaceOfTheOldOne() async throws {
        var harness = try EngineHarness()
        try await harness.pass()
        let first = try #require(harness.staged.consumed(EngineHarness.secret))
        harness.policies = [try EngineHarness.policy(staged: false, digest: "without")]
        harness.time.set(harness.time.now().addingTimeInterval(30 * 86_400))
        try await harness.pass()
        let second = try #require(harness.direct.consumed(EngineHarness.secret))
        #expect(second != first)
        #expect(harness.staged.consumed(EngineHarness.secret) == first)
        harness.policies = [try EngineHarness.policy(digest: "with")]
        try await harness.pass()
        #expect(try await harness.record().quarantine == nil)
        #expect(harness.staged.consumed(EngineHarness.secret) == second)
    }
}
