import Foundation
import KeyturnCore
import KeyturnEngine
import Synchronization
import TestSupport
import Testing

/// What looks at a secret from outside its worker, in the same process, takes no lease from that worker.
@Suite struct VisitorTests {
    /// A check that does something while the rotation that asks it is under way.
    private final class Interruption: KeyVerifier, Sendable {
        private let action = Mutex<(@Sendable () async -> Void)?>(nil)

        func be(_ action: @escaping @Sendable () async -> Void) { self.action.withLock { $0 = action } }

        func verify(_ key: KeyHandle) async throws(SystemError) -> KeyCheck {
            await action.withLock { $0 }?()
            return .works
        }
    }

    private func harness(interruptedBy interruption: Interruption) throws -> EngineHarness {
        var harness = try EngineHarness(policies: [EngineHarness.policy(checks: [PolicyCheck(type: "interruption")])])
        harness.verifier = { (_) throws(SystemError) in interruption }
        return harness
    }

    @Test func aReloadTakesNoLeaseFromAWorker() async throws {
        let interruption = Interruption()
        let harness = try harness(interruptedBy: interruption)
        let engine = try await harness.engine()
        let workplace = harness.workplace
        let reloads = Mutex(0)
        interruption.be {
            do {
                try await engine.reload(workplace)
                reloads.withLock { $0 += 1 }
            } catch { Issue.record("the reload failed: \(error)") }
        }
        try expectRotated(await engine.pass())
        #expect(reloads.withLock { $0 } == 1)
        #expect(try await harness.record().current?.number == 1)
    }

    @Test func aReleaseDuringWorkIsRefusedAndDisturbsNothing() async throws {
        let interruption = Interruption()
        let harness = try harness(interruptedBy: interruption)
        let engine = try await harness.engine()
        let name = try harness.name
        interruption.be {
            await #expect(throws: JournalError.leaseLost(name)) { try await engine.release(name, actor: "someone") }
        }
        try expectRotated(await engine.pass())
        #expect(try await harness.record().current?.number == 1)
    }

    private func expectRotated(_ outcomes: [WorkOutcome]) throws {
        let outcome = try #require(outcomes.first)
        guard case .rotated = outcome.result else {
            Issue.record("not rotated: \(outcome.result)")
            return
        }
    }
}
