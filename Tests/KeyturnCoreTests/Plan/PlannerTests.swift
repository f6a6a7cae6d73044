import Foundation
import KeyturnCore
import TestSupport
import Testing

@Suite("The planner")
struct PlannerTests {
    private let now = Date(timeIntervalSince1970: 1_800_000_000)
    private let day = 86_400.0
    private let traits = IssuerTraits(kind: .listable, keyLimit: 2, enforcesExpiry: true, checks: true)

    private func name(_ text: String = "team/key") throws -> SecretName { try SecretName(text) }

    /// A record whose current version was promoted some days ago and expires 60 days after that.
    private func record(promotedDaysAgo days: Double?, expiresAfterDays: Double? = 60) throws -> SecretRecord {
        var record = SecretRecord(name: try name())
        if let days {
            let promoted = now.addingTimeInterval(-days * day)
            record.put(
                .sample(1, from: promoted, expiresAt: expiresAfterDays.map { promoted.addingTimeInterval($0 * day) }))
        }
        return record
    }

    private func plan(
        _ record: SecretRecord?, policy: Policy?, traits: IssuerTraits? = nil, busy: [String] = []
    ) throws -> SecretPlan {
        Planner.plan(
            try name(),
            SecretFacts(
                policy: policy, record: record, traits: traits, busyPredecessors: try busy.map { try SecretName($0) }),
            at: now)
    }

    private func rotation(failed: Bool = false, nextAttempt: Date? = nil) -> RotationRecord {
        var rotation = RotationRecord(
            version: 2, machine: RotationMachine(backends: [("vault", true)]), startedAt: now, reason: "schedule",
            compromised: false, issueDigest: "issue")
        if failed {
            rotation.lastError = StepFailure(
                step: "issue", code: .unavailable, message: "the system is in trouble", advice: "", at: now)
            rotation.attempt = 1
        }
        rotation.nextAttempt = nextAttempt
        return rotation
    }

    // MARK: Reasons

    @Test func everyReasonCanBeReached() throws {
        var reached: [PlanReason: SecretPlan] = [:]
        func note(_ plan: SecretPlan) { reached[plan.reason] = plan }
        let policy = try Policy.sample()

        note(try plan(nil, policy: policy))
        note(try plan(record(promotedDaysAgo: 31), policy: policy, traits: traits))
        note(try plan(record(promotedDaysAgo: 31), policy: .sample(recurrence: .every(PolicyDuration("50d")))))
        var asked = try record(promotedDaysAgo: 1)
        asked.request = .init(at: now, compromised: false)
        note(try plan(asked, policy: policy))
        asked.request = .init(at: now, compromised: true)
        note(try plan(asked, policy: policy))
        var underWay = try record(promotedDaysAgo: 31)
        underWay.rotation = rotation()
        note(try plan(underWay, policy: policy))
        underWay.rotation = rotation(failed: true, nextAttempt: now.addingTimeInterval(60))
        note(try plan(underWay, policy: policy))
        var full = try record(promotedDaysAgo: 31)
        var old = VersionRecord.sample(2, .previous, from: now)
        old.retireAt = now.addingTimeInterval(day)
        full.put(old)
        note(try plan(full, policy: policy, traits: traits))
        note(try plan(record(promotedDaysAgo: 31), policy: policy, busy: ["team/first"]))
        var held = try record(promotedDaysAgo: 31)
        held.pausedSince = now
        note(try plan(held, policy: policy))
        held.quarantine = .init(since: now, reason: "refused ten times")
        note(try plan(held, policy: policy))
        note(try plan(record(promotedDaysAgo: 31), policy: nil))
        var far = try record(promotedDaysAgo: nil)
        far.put(.sample(from: try instant("2101-01-01T00:00Z")))
        note(
            try plan(
                far,
                policy: .sample(recurrence: .cron(CronExpression("0 0 29 2 *")), lifetime: nil, renewBefore: nil)))

        var elsewhere = try record(promotedDaysAgo: 1)
        elsewhere.versions[0].backends = []
        note(try plan(elsewhere, policy: policy))
        var drifted = try record(promotedDaysAgo: 31)
        drifted.repairSince = now
        note(try plan(drifted, policy: policy))

        asked.request = .init(at: now, compromised: false, rollsBack: true)
        note(try plan(asked, policy: policy))
        var waiting = try record(promotedDaysAgo: 31)
        waiting.waiting = .init(since: now, until: now.addingTimeInterval(90), expiresAt: nil, limit: 7)
        let limited = SecretFacts(policy: policy, record: waiting, traits: nil, rotationsPerHour: 7)
        note(Planner.plan(try name(), limited, at: now))

        let unreached = Set(PlanReason.allCases).subtracting(reached.keys)
        // `never` needs a cron that has no time within forty years, and such a one is refused; `not-due` is left to
        // those who report.
        #expect(unreached.subtracting([.never, .notDue]).isEmpty, "\(unreached)")

        let sentences: [PlanReason: String] = [
            .new: "there is no version yet", .schedule: "the schedule asks for it",
            .renewBeforeExpiry: "the key is renewed before it expires", .requested: "a rotation was asked for",
            .compromised: "the key was declared compromised", .inFlight: "version 2 is issuing",
            .retry: "issue of version 2 failed: the system is in trouble",
            .keyLimit: "the issuer allows 2 keys and 2 exist; an old one is retired first",
            .after: "waits for team/first", .paused: "paused; `keyturn resume team/key` goes on",
            .quarantined: "quarantined: refused ten times; mend it, then `keyturn resume team/key`",
            .noPolicy: "no policy names it any more; its key stays as it is",
            .newBackend: "version 1 is not in 'vault' yet and is put there",
            .repair: "version 1 is put back where a backend holds another value",
            .rollback: "the version before the current one is to be current again",
            .rotationLimit:
                "waits for its turn: 7 rotations an hour may begin, those whose keys expire first before others",
        ]
        for (reason, sentence) in sentences { #expect(reached[reason]?.sentence == sentence) }
        let actions: [PlanReason: SecretPlan.Action] = [
            .new: .issue, .schedule: .rotate, .renewBeforeExpiry: .rotate, .requested: .rotate, .compromised: .rotate,
            .inFlight: .retry, .retry: .retry, .keyLimit: .rotate, .after: .rotate, .paused: .none,
            .quarantined: .none, .noPolicy: .none, .newBackend: .retry, .repair: .retry, .rollback: .rollBack,
            .rotationLimit: .rotate,
        ]
        for (reason, action) in actions { #expect(reached[reason]?.action == action, "\(reason)") }
        for (reason, plan) in reached {
            #expect(plan.isBlocked == [.keyLimit, .after, .rotationLimit].contains(reason), "\(reason)")
        }
    }

    @Test func reasonsAreStableWords() {
        #expect(
            PlanReason.allCases.map(\.rawValue) == [
                "new", "schedule", "renew-before-expiry", "requested", "compromised", "rollback", "new-backend",
                "repair",
                "in-flight", "retry", "not-due", "key-limit", "rotation-limit", "after", "quarantined", "paused",
                "no-policy", "never",
            ])
    }

    @Test func aKeyWithoutTimingNeverRotatesByItself() throws {
        // Past the end of the calendar that cron looks over.
        var record = try record(promotedDaysAgo: nil)
        record.put(.sample(from: Date(timeIntervalSince1970: 1e15)))
        let plan = try plan(
            record, policy: .sample(recurrence: .cron(CronExpression("@daily")), lifetime: nil, renewBefore: nil))
        #expect(plan.reason == .never)
        #expect(plan.action == .none && plan.at == nil && plan.nextLook == nil)
        #expect(plan.sentence == "nothing makes it rotate by itself")
    }

    // MARK: States

    @Test func states() throws {
        let policy = try Policy.sample()
        #expect(try plan(nil, policy: policy).state == .new)
        #expect(try plan(record(promotedDaysAgo: 1), policy: policy).state == .ok)
        #expect(
            try plan(
                record(promotedDaysAgo: 1, expiresAfterDays: nil), policy: .sample(lifetime: nil, renewBefore: nil)
            ).state == .neverExpires)
        #expect(try plan(record(promotedDaysAgo: 30), policy: policy).state == .due)
        #expect(try plan(record(promotedDaysAgo: 31), policy: policy).state == .overdue)
        #expect(try plan(record(promotedDaysAgo: 60), policy: policy).state == .expired)
        var failing = try record(promotedDaysAgo: 30)
        failing.rotation = rotation(failed: true)
        #expect(try plan(failing, policy: policy).state == .failing)
        var quarantined = try record(promotedDaysAgo: 1)
        quarantined.quarantine = .init(since: now, reason: "x")
        #expect(try plan(quarantined, policy: policy).state == .failing)
        #expect(
            SecretPlan.State.allCases.map(\.rawValue) == [
                "ok", "due", "overdue", "expired", "failing", "never-expires", "new",
            ])
    }

    @Test func anExpiredKeyIsSaidWhateverElseIsWrong() throws {
        var record = try record(promotedDaysAgo: 61)
        record.quarantine = .init(since: now, reason: "x")
        #expect(try plan(record, policy: .sample()).state == .expired)
        #expect(try plan(self.record(promotedDaysAgo: 61), policy: nil).state == .expired)
    }

    // MARK: What is due

    @Test func dueAtTheVerySecond() throws {
        let record = try record(promotedDaysAgo: 30)
        let plan = try plan(record, policy: .sample())
        #expect(plan.at == now)
        #expect(plan.isDue(at: now))
        #expect(!plan.isDue(at: now.addingTimeInterval(-1)))
    }

    @Test func whatIsHeldIsNeverDue() throws {
        for reason in ["paused", "quarantined"] {
            var record = try record(promotedDaysAgo: 45)
            if reason == "paused" {
                record.pausedSince = now
            } else {
                record.quarantine = .init(since: now, reason: "x")
            }
            record.rotation = rotation()
            record.request = .init(at: now, compromised: true)
            let plan = try plan(record, policy: .sample())
            #expect(plan.reason.rawValue == reason)
            #expect(!plan.isDue(at: now) && !plan.isDue(at: .distantFuture))
            // The expiry is still told when it comes true.
            #expect(plan.nextLook == record.current?.expiresAt)
        }
    }

    @Test func aRequestIsDueAtOnceAndPreciselyOnce() throws {
        var record = try record(promotedDaysAgo: 1)
        record.request = .init(at: now.addingTimeInterval(-5), compromised: false)
        let asked = try plan(record, policy: .sample())
        #expect(asked.isDue(at: now))
        #expect(asked.at == now.addingTimeInterval(-5))
        // What was asked for is under way, and the request does not begin another.
        record.rotation = rotation()
        #expect(try plan(record, policy: .sample()).reason == .inFlight)
    }

    @Test func aSwitchHoldsWhatGoesThroughItAlone() throws {
        var record = try record(promotedDaysAgo: 31)
        var old = VersionRecord.sample(2, .previous, from: now)
        old.retireAt = now
        record.put(old)
        func plan(_ scope: PauseSwitch.Scope) throws -> SecretPlan {
            let pause = PauseSwitch(scope: scope, since: now, reason: "why", actor: "ann")
            return Planner.plan(
                try name(), SecretFacts(policy: try .sample(), record: record, traits: nil, switches: [pause]), at: now)
        }
        for scope in [PauseSwitch.Scope.everything, .issuer("issuer")] {
            let held = try plan(scope)
            #expect(held.reason == .paused && held.action == .none && held.sentence.contains("(why)"))
            #expect(held.retirements.allSatisfy { $0.at == nil && $0.gates.first?.gate == .secretReleased })
        }
        let free = try plan(.issuer("other"))
        #expect(free.isDue(at: now) && free.retirements.first?.at == now)
    }

    @Test func whatIsRevokedFirstNeedsNoRoom() throws {
        var record = try record(promotedDaysAgo: 1)
        record.put(.sample(2, .previous, from: now))
        record.request = .init(at: now, compromised: true)
        let first = try Policy.sample(retirement: RetirementRule(onCompromise: .revokeFirst))
        #expect(try plan(record, policy: first, traits: traits).reason == .compromised)
        #expect(try plan(record, policy: .sample(), traits: traits).reason == .keyLimit)
        // A key that is revoked takes no room either way.
        record.versions[1].retirement = .init()
        record.versions[1].retirement?.revoked = true
        #expect(try plan(record, policy: .sample(), traits: traits).reason == .compromised)
    }

    @Test func aRollbackLiftsAnOlderQuarantineOnly() throws {
        var record = try record(promotedDaysAgo: 1)
        record.quarantine = .init(since: now, reason: "refused")
        record.request = .init(at: now, compromised: false, rollsBack: true)
        #expect(try plan(record, policy: .sample()).reason == .rollback)
        record.quarantine = .init(since: now.addingTimeInterval(1), reason: "refused again")
        #expect(try plan(record, policy: .sample()).reason == .quarantined)
    }

    @Test func theKeyLimitHoldsUpEveryRotation() throws {
        var record = try record(promotedDaysAgo: 31)
        var old = VersionRecord.sample(2, .previous, from: now)
        old.retireAt = now.addingTimeInterval(7_200)
        record.put(old)
        for request in [nil, SecretRecord.RotationRequest(at: now, compromised: true)] {
            record.request = request
            let plan = try plan(record, policy: .sample(), traits: traits)
            #expect(plan.reason == .keyLimit && plan.isBlocked)
            #expect(plan.at == old.retireAt)
            #expect(!plan.isDue(at: .distantFuture))
        }
        // Retired and abandoned keys do not count.
        old.stage = .retired
        record.put(old)
        record.put(.sample(3, .abandoned, from: now))
        record.request = nil
        #expect(try plan(record, policy: .sample(), traits: traits).reason == .schedule)
    }

    @Test func predecessorsHoldUpOnlyWhatIsDue() throws {
        let later = try plan(record(promotedDaysAgo: 1), policy: .sample(), busy: ["team/first"])
        #expect(later.reason == .schedule && !later.isBlocked)
        let due = try plan(record(promotedDaysAgo: 30), policy: .sample(), busy: ["team/first", "team/second"])
        #expect(due.sentence == "waits for team/first, team/second")
        #expect(due.nextLook == now.addingTimeInterval(60), "what waits for others is looked at each minute")
    }

    @Test func aRetryWaitsForItsTime() throws {
        var record = try record(promotedDaysAgo: 30)
        record.rotation = rotation(failed: true, nextAttempt: now.addingTimeInterval(300))
        let plan = try plan(record, policy: .sample())
        #expect(plan.at == now.addingTimeInterval(300))
        #expect(!plan.isDue(at: now) && plan.isDue(at: now.addingTimeInterval(300)))
        record.rotation = rotation()
        #expect(try self.plan(record, policy: nil).isDue(at: now), "it is finished also when its policy is gone")
    }

    // MARK: Retirements

    @Test func leavingVersionsArePlannedByTheirGates() throws {
        var record = SecretRecord(name: try name())
        var first = VersionRecord.sample(1, .previous, from: now.addingTimeInterval(-40 * day))
        first.retireAt = now.addingTimeInterval(-1)
        var second = VersionRecord.sample(2, .previous, from: now.addingTimeInterval(-20 * day))
        second.retireAt = now.addingTimeInterval(2 * day)
        record.put(first)
        record.put(second)
        record.put(.sample(3, from: now.addingTimeInterval(-day), expiresAt: now.addingTimeInterval(59 * day)))
        let plan = try plan(record, policy: .sample())
        #expect(plan.retirements.map(\.version) == [1, 2])
        #expect(plan.retirements.map(\.at) == [now, now.addingTimeInterval(2 * day)])
        #expect(plan.retirements.map(\.isBlocked) == [false, true])
        #expect(plan.nextLook == now)
        record.pausedSince = now
        let held = try self.plan(record, policy: .sample())
        #expect(held.nextLook != now, "a held secret is not woken for them")
        #expect(held.retirements.map(\.at) == [nil, nil])
        for retirement in held.retirements {
            #expect(retirement.gates.first == GateResult(.secretReleased, .blocked, held.sentence))
        }
        record.pausedSince = nil
        record.quarantine = .init(since: now, reason: "x")
        let quarantined = try self.plan(record, policy: .sample())
        #expect(quarantined.retirements.map(\.at) == [nil, nil])
        #expect(quarantined.retirements.first?.gates.first?.sentence == quarantined.sentence)
    }

    @Test func aRetirementWaitsForARotationWithoutATimeOfItsOwn() throws {
        var record = try record(promotedDaysAgo: 1)
        var old = VersionRecord.sample(2, .previous, from: now)
        old.retireAt = now
        record.versions = [.sample(1, .previous, from: now), .sample(2, from: now)]
        record.versions[0].retireAt = now
        record.rotation = rotation()
        #expect(try plan(record, policy: .sample()).retirements.map(\.at) == [nil])
    }
}
