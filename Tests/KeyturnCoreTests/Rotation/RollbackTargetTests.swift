import Foundation
import KeyturnCore
import TestSupport
import Testing

@Suite("Which version a rollback leads to")
struct RollbackTargetTests {
    private let now = Date(timeIntervalSince1970: 1_800_000_000)
    private let day = 86_400.0

    private func version(_ number: Int, _ stage: Stage, promotedDaysAgo days: Double) -> VersionRecord {
        let promoted = now.addingTimeInterval(-days * day)
        var version = VersionRecord.sample(
            number, stage, from: promoted, expiresAt: promoted.addingTimeInterval(60 * day))
        version.sealed = Data([1])
        return version
    }

    /// Version 1 in its grace, version 2 current.
    private func record(_ change: (inout SecretRecord) -> Void = { _ in }) throws -> SecretRecord {
        var record = SecretRecord(name: try SecretName("team/key"))
        record.put(version(1, .previous, promotedDaysAgo: 31))
        record.put(version(2, .current, promotedDaysAgo: 1))
        change(&record)
        return record
    }

    private func refusal(_ record: SecretRecord, policy: Policy?) -> RollbackRefusal? {
        do throws(RollbackRefusal) {
            _ = try Rollback.target(in: record, under: policy, at: now)
            return nil
        } catch { return error }
    }

    @Test func itIsTheOneThatWasCurrentLast() throws {
        #expect(try Rollback.target(in: record(), under: .sample(), at: now).number == 1)
        let several = try record { record in
            record.put(version(1, .previous, promotedDaysAgo: 2))
            record.put(version(2, .disabled, promotedDaysAgo: 20))
            record.put(version(3, .current, promotedDaysAgo: 1))
        }
        #expect(try Rollback.target(in: several, under: .sample(), at: now).number == 1)
        let disabled = try record { $0.put(version(1, .disabled, promotedDaysAgo: 31)) }
        #expect(try Rollback.target(in: disabled, under: .sample(), at: now).stage == .disabled)
    }

    @Test func eachReasonToRefuse() throws {
        let policy = try Policy.sample()
        func refused(_ change: (inout SecretRecord) -> Void) throws -> RollbackRefusal? {
            refusal(try record(change), policy: policy)
        }
        #expect(refusal(try record(), policy: nil) == .noPolicy)
        #expect(refusal(SecretRecord(name: try SecretName("a")), policy: policy) == .noCurrent)
        #expect(try refused { $0.put(version(1, .retired, promotedDaysAgo: 31)) } == .noPrevious)
        func first(_ change: (inout VersionRecord) -> Void) throws -> RollbackRefusal? {
            try refused { record in
                var version = version(1, .previous, promotedDaysAgo: 31)
                change(&version)
                record.put(version)
            }
        }
        #expect(try first { $0.tainted = true } == .compromised(1))
        #expect(try first { $0.sealed = nil } == .revoked(1))
        #expect(
            try first {
                $0.retirement = .init()
                $0.retirement?.revoked = true
            } == .revoked(1))
        #expect(try first { $0.expiresAt = now } == .expired(1, at: now))
        let soon = now.addingTimeInterval(3600)
        #expect(try first { $0.expiresAt = soon } == .expiresTooSoon(1, at: soon))
        #expect(try first { $0.expiresAt = soon.addingTimeInterval(1) } == nil)
        #expect(try refused { $0.request = .init(at: now, compromised: true) } == .compromised(2))
        var rotation = RotationRecord(
            version: 3, machine: RotationMachine(phase: .promoting, backends: [.init(name: "v", required: true)]),
            startedAt: now, reason: "schedule", compromised: false, issueDigest: "issue")
        #expect(try refused { $0.rotation = rotation } == nil, "nobody has seen it")
        try rotation.machine.handle(.promoteIntended(backend: "v"))
        #expect(try refused { $0.rotation = rotation } == .underWay(version: 3))
        let all: [RollbackRefusal] = [
            .noPolicy, .noCurrent, .noPrevious, .compromised(1), .revoked(1), .expired(1, at: now),
            .expiresTooSoon(1, at: now), .underWay(version: 1),
        ]
        #expect(Set(all.map(\.description)).count == all.count)
        #expect(all.allSatisfy { !$0.advice.isEmpty })
    }

    @Test func theMachineBeginsWithTheProofAndStaysDroppableUntilThePromote() throws {
        var machine = RotationMachine(returningTo: [("v", true), ("w", false)])
        #expect(machine.effects == [.verify] && !machine.isPastFirstPromote)
        try machine.handle(.verified)
        #expect(machine.effects == [.promote(backend: "v"), .promote(backend: "w")] && !machine.isPastFirstPromote)
        try machine.handle(.promoteIntended(backend: "v"))
        #expect(machine.isPastFirstPromote)
        try machine.handle(.promoted(backend: "v"))
        try machine.handle(.promoteIntended(backend: "w"))
        try machine.handle(.promoted(backend: "w"))
        #expect(machine.phase == .settled)
    }

    @Test func theRenewalIsPutOffOnlyWhereItWouldComeAtOnce() throws {
        let policy = try Policy.sample(recurrence: .every(PolicyDuration("50d")), jitter: "2h")
        func at(rolledBackDaysAgo days: Double, expiresInDays left: Double) throws -> Double {
            var version = VersionRecord.sample(from: now.addingTimeInterval(-days * day))
            version.expiresAt = now.addingTimeInterval(left * day)
            version.rolledBackAt = version.promotedAt
            let timing = try #require(RotationTiming.next(policy: policy, current: version, schedule: nil))
            return timing.at.timeIntervalSince(now) / day
        }
        // Due for 5 days already: a day is left.
        #expect(try at(rolledBackDaysAgo: 0, expiresInDays: 15) == 1)
        // Half of what is left before the last safe start, an hour before the end.
        #expect(try at(rolledBackDaysAgo: 0, expiresInDays: 1) == 23.0 / 48)
        // Its own renewal comes later than that, less the jitter.
        let usual = try at(rolledBackDaysAgo: 0, expiresInDays: 30)
        #expect(usual > 9.9 && usual <= 10)
    }
}
