package import Foundation
package import KeyturnCore
import Logging

/// Does all that is due for one secret, under a lease: tells what has to be told, drives the rotation, retires old versions.
struct SecretWorker {
    let core: EngineCore
    let workplace: Workplace
    let lineUpTime: Double
    /// Whether a pass with patience also waits until the values of keys that have ended are removed. Whoever asked for a
    /// rotation wants to hear of it sooner.
    let tidiesUp: Bool

    init(core: EngineCore, workplace: Workplace, lineUpTime: Double? = nil, tidiesUp: Bool = true) {
        self.tidiesUp = tidiesUp
        self.core = core
        self.workplace = workplace
        self.lineUpTime = lineUpTime ?? core.settings.lineUpTime
    }

    func work(on secret: SecretName) async -> WorkOutcome {
        do throws(JournalError) {
            let term = core.leaseTerm()
            guard let lease = try await core.journal.claim(secret, owner: core.owner, term: term) else {
                return WorkOutcome(secret: secret, result: .leasedElsewhere)
            }
            let record = try await core.journal.record(of: secret) ?? SecretRecord(name: secret)
            var session = SecretSession(record: record, lease: lease, core: core, term: term)
            do throws(JournalError) {
                let outcome = try await work(&session)
                await session.release()
                return outcome
            } catch {
                await session.release()
                throw error
            }
        } catch {
            core.logger.error("the journal failed", metadata: ["secret": "\(secret)", "error": "\(error)"])
            return WorkOutcome(secret: secret, result: .journalFailed(error))
        }
    }

    private func work(_ session: inout SecretSession) async throws(JournalError) -> WorkOutcome {
        let secret = session.record.name
        let policy = workplace.policies[secret]
        try await markSchedule(policy, &session)
        try await UnknownOutcomes(core: core, workplace: workplace, secret: secret).examine(&session)
        var outcome = WorkOutcome(secret: secret, result: .nothingDue)
        var waited = 0.0
        while true {
            try await session.refreshWishes()
            try await taint(&session)
            let before = session.record
            try await RotationDriver(core: core, workplace: workplace, policy: policy, secret: secret)
                .letRotationRepair(&session)
            try await tell(policy, try await plan(session.record, policy), &session)
            try await rotate(policy, &session, &outcome)
            if !outcome.isParked { try await retire(policy, &session, &outcome) }
            if outcome.isParked || outcome.linesUp || core.stop.isAsked { break }
            if session.record != before { continue }
            guard
                let pause = try await inlinePause(
                    session.record, waited,
                    isPaused: session.isPaused(through: session.record.issuers(under: policy)))
            else { break }
            waited += pause
            do throws(SystemError) { try await core.pause(pause) } catch { break }
        }
        if let stuck = outcome.stuck.min(by: { $0.key < $1.key })?.value { outcome.result = .failed(stuck) }
        outcome.nextLook = try await finish(policy, &session, outcome)
        outcome.quarantine = session.record.quarantine
        return outcome
    }

    /// Notes when the secret is looked at next. What people asked for while that was written is looked at once more: their
    /// wish made the secret due, and the commit took that away.
    private func finish(
        _ policy: Policy?, _ session: inout SecretSession, _ outcome: WorkOutcome
    ) async throws(JournalError) -> Date? {
        while true {
            let known = (session.record.wishes, session.switches)
            let plan = try await plan(session.record, policy)
            let waits = plan.reason == .rotationLimit || outcome.linesUp
            try await session.finish(nextDue: outcome.isParked ? core.time.now() : plan.nextLook) { record, _ in
                if !waits { record.waiting = nil }
            }
            try await session.refreshWishes()
            if known == (session.record.wishes, session.switches) { return plan.nextLook }
        }
    }

    private func rotate(
        _ policy: Policy?, _ session: inout SecretSession, _ outcome: inout WorkOutcome
    ) async throws(JournalError) {
        let driver = RotationDriver(core: core, workplace: workplace, policy: policy, secret: session.record.name)
        let target = try await rollbackTarget(policy, &session, &outcome)
        let plan = try await plan(session.record, policy)
        guard plan.isDue(at: core.time.now()), !core.stop.isAsked else { return }
        if session.record.rotation == nil {
            if let target {
                try await driver.beginRollback(&session, to: target)
            } else {
                guard try await hasPlace(plan, &session, &outcome) else { return }
                try await driver.begin(&session, because: plan.reason)
            }
        }
        let current = session.record.current?.number
        let isRollback = session.record.rotation?.isRollback ?? false
        switch try await driver.drive(&session) {
        case .finished:
            if session.record.current?.number != current { outcome.result = isRollback ? .rolledBack : .rotated }
        case .failed(let failure): outcome.result = .failed(failure)
        case .parked: outcome.isParked = true
        case .paused: break
        }
    }

    private func retire(
        _ policy: Policy?, _ session: inout SecretSession, _ outcome: inout WorkOutcome
    ) async throws(JournalError) {
        guard session.record.quarantine == nil, session.record.pausedSince == nil, session.record.rotation == nil,
            session.switches.stopping([]) == nil, !session.record.leaving.isEmpty
        else { return }
        // A retirement without a closed gate is planned for the moment of planning, so that the time is read after it.
        let retirements = try await plan(session.record, policy).retirements
        let now = core.time.now()
        for planned in retirements {
            guard let at = planned.at, at <= now else { continue }
            let driver = RetirementDriver(
                core: core, workplace: workplace, policy: policy, secret: session.record.name)
            switch try await driver.drive(planned.version, &session) {
            case .retired:
                outcome.retired += 1
                outcome.stuck[planned.version] = nil
            case .waiting: outcome.stuck[planned.version] = nil
            case .failed(let failure): outcome.stuck[planned.version] = failure
            case .parked:
                outcome.isParked = true
                return
            }
        }
    }

    /// The plan as everything else sees it, with what `after` asks for.
    func plan(_ record: SecretRecord, _ policy: Policy?) async throws(JournalError) -> SecretPlan {
        let now = core.time.now()
        let switches = try await core.journal.switches()
        var busy: [SecretName] = []
        for name in policy?.after ?? [] {
            guard let other = workplace.policies[name] else { continue }
            let known = try await core.journal.record(of: name)
            let theirs = Planner.plan(
                name,
                SecretFacts(
                    policy: other, record: known, traits: workplace.issuers[other.issuer]?.traits, switches: switches,
                    rotationsPerHour: core.settings.maxRotationsPerHour), at: now)
            if theirs.isDue(at: now) || known?.rotation != nil { busy.append(name) }
        }
        // A version's key counts at the issuer that made it.
        let issuer = policy?.issuer ?? record.current?.issuer
        return Planner.plan(
            record.name,
            SecretFacts(
                policy: policy, record: record, traits: issuer.flatMap { workplace.issuers[$0]?.traits },
                busyPredecessors: busy, installation: try await core.journal.installationState(), switches: switches,
                rotationsPerHour: core.settings.maxRotationsPerHour), at: now)
    }

    /// Notes when a schedule is first seen, so that an edited one does not rotate everything at once.
    private func markSchedule(_ policy: Policy?, _ session: inout SecretSession) async throws(JournalError) {
        guard let digest = policy?.origin.scheduleDigest, session.record.schedule?.digest != digest else { return }
        let now = core.time.now()
        try await session.commit { record, _ in
            record.schedule = SecretRecord.ScheduleMark(
                digest: digest, since: now, replacedAnother: record.schedule != nil)
        }
    }

    func desk(_ policy: Policy?) -> AlertDesk {
        AlertDesk(core: core, policy: policy, sinks: workplace.sinkNames(for: policy), now: core.time.now())
    }

    /// Overdue and expired are told once, when they come true.
    private func tell(
        _ policy: Policy?, _ plan: SecretPlan, _ session: inout SecretSession
    ) async throws(JournalError) {
        guard policy != nil else { return }
        let desk = desk(policy)
        let record = session.record
        let isExpired = plan.state == .expired && record.firing[AlertEvent.Kind.keyExpired.rawValue] == nil
        let isOverdue =
            (plan.timing.map { desk.now >= $0.overdueAt } ?? false)
            && record.firing[AlertEvent.Kind.rotationOverdue.rawValue] == nil
        guard isExpired || isOverdue else { return }
        // A rotation that is due this moment gets its chance first; it is told when that did not help.
        if record.rotation == nil, plan.isDue(at: desk.now), record.request == nil, !isExpired { return }
        try await session.commit { record, outbox in
            if isExpired {
                desk.raise(
                    .keyExpired, severity: .critical, version: record.current?.number, reason: plan.reason.rawValue,
                    summary: "the current key of \(record.name) has expired; \(plan.sentence)",
                    advice: "see `keyturn explain \(record.name)`", in: &record, &outbox)
            }
            if isOverdue {
                desk.raise(
                    .rotationOverdue, severity: .error, version: record.current?.number, reason: plan.reason.rawValue,
                    summary: "the rotation of \(record.name) is overdue; \(plan.sentence)",
                    advice: "see `keyturn explain \(record.name)`", in: &record, &outbox)
            }
        }
    }

    /// How long to wait here for the next try, when a pass has that patience.
    private func inlinePause(_ record: SecretRecord, _ waited: Double, isPaused: Bool) async throws(JournalError)
        -> Double?
    {
        guard core.settings.inlineWait > 0, record.quarantine == nil, record.pausedSince == nil, !isPaused else {
            return nil
        }
        guard let next = record.nextRetry(includingPrunes: tidiesUp) else { return nil }
        let pause = max(0.05, next.timeIntervalSince(core.time.now()))
        return waited + pause <= core.settings.inlineWait ? pause : nil
    }
}

/// What came of the work on one secret.
package struct WorkOutcome: Sendable {
    package enum Result: Sendable {
        case nothingDue
        case rotated
        case rolledBack
        case failed(StepFailure)
        case leasedElsewhere
        case journalFailed(JournalError)
    }

    package let secret: SecretName
    package internal(set) var result: Result
    /// Versions retired.
    package internal(set) var retired = 0
    /// Old versions whose last try failed, by their numbers.
    var stuck: [Int: StepFailure] = [:]
    package internal(set) var quarantine: SecretRecord.Quarantine?
    /// Work was left for the next start because a stop was asked for.
    package internal(set) var isParked = false
    package internal(set) var nextLook: Date?
    /// It is due and stands in line for its place among the rotations of this hour.
    package internal(set) var linesUp = false

    package init(secret: SecretName, result: Result) {
        self.secret = secret
        self.result = result
    }

    /// What stands in the way of a secret that no work was done on: a quarantine, or a failure whose next try comes later.
    package init?(standing record: SecretRecord) {
        let failure = record.rotation?.lastError ?? record.stuckRetirements.first?.lastError
        guard record.quarantine != nil || failure != nil else { return nil }
        self.init(secret: record.name, result: failure.map(Result.failed) ?? .nothingDue)
        quarantine = record.quarantine
    }
}
