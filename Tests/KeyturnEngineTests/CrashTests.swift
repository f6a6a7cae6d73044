import Foundation
import KeyturnCore
import KeyturnEngine
import TestSupport
import Testing

/// The process dies at every single effect (journal write or outside call), before it or right after it, and is started
/// again. Whatever the instant: consumers get keys that work, and no key is lost or orphaned.
@Suite struct CrashTests {
    static let kinds: [IssuerKind] = [.chosen, .listable]

    @Test(arguments: kinds) func dyingAnywhereInTheFirstRotation(kind: IssuerKind) async throws {
        try await dieEverywhere(kind) { _ in }
    }

    @Test(arguments: kinds) func dyingAnywhereInALaterRotation(kind: IssuerKind) async throws {
        try await dieEverywhere(kind) { harness in
            try await harness.pass()
            harness.time.set(harness.time.now().addingTimeInterval(30 * 86_400))
        }
    }

    @Test(arguments: kinds) func dyingAnywhereInARetirement(kind: IssuerKind) async throws {
        try await dieEverywhere(kind) { harness in
            try await harness.pass()
            harness.time.set(harness.time.now().addingTimeInterval(30 * 86_400))
            try await harness.pass()
            harness.time.set(harness.time.now().addingTimeInterval(3 * 86_400))
        }
    }

    @Test(arguments: kinds) func dyingAnywhereWhileARefusedKeyIsUndone(kind: IssuerKind) async throws {
        try await dieEverywhere(kind) { harness in harness.issuer.refuseNextKeys(1) }
    }

    /// Dies at the first effect, then in another world at the second, and so on, until the work is done without dying.
    private func dieEverywhere(
        _ kind: IssuerKind, prepare: (EngineHarness) async throws -> Void
    ) async throws {
        var instants = 0
        for instant in CrashPlan.Instant.allCases {
            var target = 0
            while true {
                let harness = try EngineHarness(kind: kind)
                try await prepare(harness)
                harness.plan.die(at: target, instant)
                // What a dead process throws is nobody's business.
                _ = try? await harness.pass()
                let died = harness.plan.deathAt
                harness.plan.die(at: nil, instant)
                try consumersAreServed(harness, "dead at \(target) \(died ?? "-") \(instant)")
                try await settle(harness)
                try await isWhole(harness, "died at \(target) \(died ?? "-") \(instant)")
                instants += 1
                guard died != nil else { break }
                target += 1
                try #require(target < 500)
            }
        }
        #expect(instants > 20)
    }

    /// Restarts until nothing is left to do, past every back-off and grace but before the next rotation.
    private func settle(_ harness: EngineHarness) async throws {
        for _ in 0..<12 {
            try await harness.pass()
            try consumersAreServed(harness, "settling")
            harness.time.set(harness.time.now().addingTimeInterval(12 * 3600))
        }
    }

    private func consumersAreServed(_ harness: EngineHarness, _ context: String) throws {
        for backend in [harness.staged, harness.direct] {
            guard let value = backend.consumed(EngineHarness.secret) else { continue }
            #expect(harness.issuer.accepts(value), "\(context): a consumer holds a key that does not work")
        }
    }

    private func isWhole(_ harness: EngineHarness, _ context: String) async throws {
        let record = try await harness.record()
        #expect(record.rotation == nil, "\(context)")
        #expect(record.quarantine == nil, "\(context)")
        #expect(record.versions.count { $0.stage == .current } == 1, "\(context)")
        #expect(record.pending == nil, "\(context)")
        #expect(record.unanswered.isEmpty, "\(context): \(record.unanswered.map(\.step)) is never answered")
        let known = Set(record.versions.filter { $0.stage.mayExistAtIssuer }.compactMap(\.keyID))
        #expect(Set(harness.issuer.keys.map(\.id)) == known, "\(context): the issuer holds other keys than the journal")
        let current = try #require(record.current)
        let values = Set([harness.staged, harness.direct].map { $0.consumed(EngineHarness.secret) })
        #expect(values == [harness.issuer.keys.first { $0.id == current.keyID }?.text], "\(context)")
        let entries = try await harness.journal.auditEntries(of: nil, after: 0, limit: 100_000)
        #expect(AuditChain.firstBreak(in: entries) == nil, "\(context)")
    }
}
