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

    @Test(arguments: kinds) func dyingAnywhereInARollback(kind: IssuerKind) async throws {
        try await dieEverywhere(kind) { harness in
            try await rotate(harness)
            try await harness.engine().requestRollback(of: try harness.name, actor: "ann")
        } finally: { harness, context in
            let record = try await harness.record()
            #expect(record.current?.number == 1 && record.version(2)?.stage == .retired, "\(context)")
            #expect(record.request == nil, "\(context)")
        }
    }

    @Test(arguments: kinds) func dyingAnywhereInARollbackToADisabledKey(kind: IssuerKind) async throws {
        let observe = RetirementRule(observe: try PolicyDuration("2d"))
        try await dieEverywhere(kind, [EngineHarness.policy(retirement: observe)]) { harness in
            try await rotate(harness)
            harness.time.set(harness.time.now().addingTimeInterval(2 * 86_400))
            try await harness.pass()
            try #require(try await harness.record().version(1)?.stage == .disabled)
            try await harness.engine().requestRollback(of: try harness.name, actor: "ann")
        } finally: { harness, context in
            let record = try await harness.record()
            #expect(record.current?.number == 1, "\(context)")
        }
    }

    @Test(arguments: kinds) func dyingAnywhereInACompromisedRotation(kind: IssuerKind) async throws {
        try await dieEverywhere(kind) { harness in
            try await rotate(harness)
            try await harness.engine().request(try harness.name, compromised: true, actor: "ann")
        } finally: { harness, context in
            let stages = try await harness.record().versions.filter(\.tainted).map(\.stage)
            #expect(stages == [.retired, .retired], "\(context)")
        }
    }

    /// An outage is what the policy prefers; what must hold is that the leaked keys are dead before a new one is made.
    @Test(arguments: kinds) func dyingAnywhereWhileTheOldKeyIsRevokedFirst(kind: IssuerKind) async throws {
        let first = RetirementRule(onCompromise: .revokeFirst)
        try await dieEverywhere(kind, [EngineHarness.policy(retirement: first)], served: false) { harness in
            try await rotate(harness)
            try await harness.engine().request(try harness.name, compromised: true, actor: "ann")
        } finally: { harness, context in
            let stages = try await harness.record().versions.filter(\.tainted).map(\.stage)
            #expect(stages == [.retired, .retired], "\(context)")
            let steps = try await harness.journal.auditEntries(of: nil, after: 0, limit: 100_000).map(\.event)
            let issued = try #require(
                steps.firstIndex { $0.kind == "step.intended" && $0.step == "issue" && $0.version == 3 })
            let revoked = try #require(
                steps.lastIndex { $0.kind == "step.succeeded" && $0.step == "revoke" && $0.version ?? 9 < 3 })
            #expect(revoked < issued, "\(context)")
        }
    }

    /// Version 2 is current, version 1 in its grace.
    private func rotate(_ harness: EngineHarness) async throws {
        try await harness.pass()
        harness.time.set(harness.time.now().addingTimeInterval(30 * 86_400))
        try await harness.pass()
    }

    /// Dies at the first effect, then in another world at the second, and so on, until the work is done without dying.
    private func dieEverywhere(
        _ kind: IssuerKind, _ policies: [Policy]? = nil, served: Bool = true,
        prepare: (EngineHarness) async throws -> Void,
        finally: (EngineHarness, _ context: String) async throws -> Void = { _, _ in }
    ) async throws {
        var instants = 0
        for instant in CrashPlan.Instant.allCases {
            var target = 0
            while true {
                let harness = try EngineHarness(kind: kind, policies: policies)
                try await prepare(harness)
                harness.plan.die(at: target, instant)
                // What a dead process throws is nobody's business.
                _ = try? await harness.pass()
                let died = harness.plan.deathAt
                harness.plan.die(at: nil, instant)
                let context = "dead at \(target) \(died ?? "-") \(instant)"
                if served { try consumersAreServed(harness, context) }
                try await settle(harness, served: served)
                try await isWhole(harness, context)
                try await finally(harness, context)
                instants += 1
                guard died != nil else { break }
                target += 1
                try #require(target < 500)
            }
        }
        #expect(instants > 20)
    }

    /// Restarts until nothing is left to do, past every back-off and grace but before the next rotation.
    private func settle(_ harness: EngineHarness, served: Bool) async throws {
        for _ in 0..<12 {
            try await harness.pass()
            if served { try consumersAreServed(harness, "settling") }
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
