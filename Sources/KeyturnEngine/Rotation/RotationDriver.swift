import Foundation
import KeyturnCore
import Logging

/// Drives the rotation of one secret: asks the machine what is next, makes the intent durable, takes the step, makes the
/// outcome durable.
///
/// It knows no way of its own to recover. A restart finds the machine where the last commit left it: an intent to issue
/// without an answer is resolved by asking the issuer, every other step is simply taken again.
final class RotationDriver: Sendable {
    let core: EngineCore
    let workplace: Workplace
    /// `nil` when no policy names the secret any more.
    let policy: Policy?
    let secret: SecretName

    init(core: EngineCore, workplace: Workplace, policy: Policy?, secret: SecretName) {
        self.core = core
        self.workplace = workplace
        self.policy = policy
        self.secret = secret
    }

    /// Why driving came to a rest.
    enum Rest {
        /// The rotation is over, one way or the other, or there was none.
        case finished
        /// A step failed; it is tried again later or a person is needed.
        case failed(StepFailure)
        /// A stop was asked for.
        case parked
        /// Somebody paused the secret.
        case paused
    }

    /// What a step came to.
    enum StepResult {
        case moved
        case failed(RotationStep, SystemError)
    }

    var writing: VersionWriting { VersionWriting(core: core, workplace: workplace, secret: secret) }
    var readBack: ReadBack { ReadBack(core: core, workplace: workplace) }
    var restore: RestoreWatch { RestoreWatch(core: core, workplace: workplace, secret: secret) }
    var now: Date { core.time.now() }

    func desk() -> AlertDesk {
        AlertDesk(core: core, policy: policy, sinks: workplace.sinkNames(for: policy), now: now)
    }

    /// Starts a rotation. Nothing outside has happened yet.
    func begin(_ session: inout SecretSession, because reason: PlanReason) async throws(JournalError) {
        guard let policy else { return }
        guard reason != .newBackend else { return try await beginDistribution(policy, &session) }
        guard reason != .repair else { return try await beginRepair(policy, &session) }
        let now = now
        try await session.commit { record, outbox in
            let compromised = record.request?.compromised ?? false
            record.waiting = nil
            let rotation = RotationRecord(
                version: record.nextNumber, machine: RotationMachine(backends: policy.rotationBackends), startedAt: now,
                reason: reason.rawValue, compromised: compromised, issueDigest: policy.origin.issueDigest,
                reissues: record.abandonedInARow)
            record.rotation = rotation
            outbox.audit.append(
                AuditEvent(
                    at: now, kind: "rotation.started", secret: record.name, version: rotation.version,
                    detail: ["reason": reason.rawValue, "policy": policy.origin.digest]))
        }
        core.logger.info("rotation started", metadata: ["secret": "\(secret)", "reason": "\(reason.rawValue)"])
    }

    /// Starts to put the current version into places that lack it. It is a rotation without its first half.
    private func beginDistribution(_ policy: Policy, _ session: inout SecretSession) async throws(JournalError) {
        let now = now
        try await session.commit { record, outbox in
            guard var current = record.current else { return }
            let lacking = Set(policy.places(lacking: current).map(\.name))
            let progress = policy.backends.map { entry in
                RotationMachine.BackendProgress(
                    name: entry.name, required: entry.required,
                    progress: lacking.contains(entry.name) ? .deferred : .promoted)
            }
            current.backends.removeAll { lacking.contains($0.target.backend) }
            current.backends += policy.backends.filter { lacking.contains($0.name) }.map(\.stored)
            record.put(current)
            record.rotation = RotationRecord(
                version: current.number, machine: RotationMachine(distributingTo: progress), startedAt: now,
                reason: PlanReason.newBackend.rawValue, compromised: false, issueDigest: policy.origin.issueDigest)
            outbox.audit.append(
                AuditEvent(
                    at: now, kind: "distribution.started", secret: record.name, version: current.number,
                    detail: ["backends": lacking.sorted().joined(separator: " "), "policy": policy.origin.digest]))
        }
        core.logger.info("the current version is put into new places", metadata: ["secret": "\(secret)"])
    }

    /// Takes steps until the rotation is over, a step fails or a stop is asked for.
    func drive(_ session: inout SecretSession) async throws(JournalError) -> Rest {
        while let rotation = session.record.rotation {
            guard session.record.quarantine == nil else {
                return rotation.lastError.map(Rest.failed) ?? .finished
            }
            guard !core.stop.isAsked, !Task.isCancelled else { return .parked }
            try await session.refreshWishes()
            guard !session.isPaused(through: session.record.issuers(under: policy)) else { return .paused }
            if let reason = reasonToDrop(rotation, session.record) {
                return .failed(try await dropRollback(&session, because: reason))
            }
            if let leaked = leakedVersion(rotation, session.record) {
                guard case .failed(let step, let error) = try await revokeFirst(leaked, &session) else { continue }
                if error.code == .cancelled { return .parked }
                return .failed(try await fail(&session, at: step, with: error))
            }
            if let reason = reasonToAbandon(rotation, session.record) {
                try await abandon(&session, because: reason)
                continue
            }
            try await followPolicy(&session)
            guard case .failed(let step, let error) = try await takeNext(&session) else { continue }
            if error.code == .cancelled { return .parked }
            return .failed(try await fail(&session, at: step, with: error))
        }
        return .finished
    }

    private func takeNext(_ session: inout SecretSession) async throws(JournalError) -> StepResult {
        switch session.record.rotation?.machine.phase {
        case .issuing: try await issue(&session)
        case .staging: try await stage(&session)
        case .verifying: try await verify(&session)
        case .promoting: try await promote(&session)
        case .abandoning: try await undo(&session)
        case .settled, .abandoned, nil: .moved
        }
    }

    /// Takes an event into the record's machine; an event out of place is a defect, and a person looks at it.
    func apply(_ event: RotationMachine.Event, to record: inout SecretRecord, _ outbox: inout Outbox) {
        do throws(RotationTransitionError) {
            try record.rotation?.machine.handle(event)
        } catch {
            record.quarantine = SecretRecord.Quarantine(since: now, reason: "internal: \(error)")
        }
    }

    /// Records a step that succeeded, and forgets the failures before it.
    func succeed(
        _ step: RotationStep, in record: inout SecretRecord, _ outbox: inout Outbox, detail: [String: String] = [:]
    ) {
        record.rotation?.attempt = 0
        record.rotation?.lastError = nil
        record.rotation?.nextAttempt = nil
        outbox.audit.append(
            AuditEvent(
                at: now, kind: "step.succeeded", secret: record.name, version: record.rotation?.version,
                step: step.text, detail: detail))
        core.answered(step.text, version: record.rotation?.version ?? 0, in: &record, &outbox)
        outbox.log.append(
            Outbox.LogLine(
                level: .info, message: "step done",
                metadata: [
                    "secret": "\(record.name)", "step": "\(step.text)", "version": "\(record.rotation?.version ?? 0)",
                ]))
    }

    /// Makes the intents of steps durable before they are taken.
    func intend(
        _ steps: [RotationStep], _ session: inout SecretSession,
        _ change: (inout SecretRecord, inout Outbox) -> Void = { _, _ in }
    ) async throws(JournalError) {
        let now = now
        try await session.commit { record, outbox in
            record.intend(steps, version: record.rotation?.version ?? 0, at: now)
            outbox.audit += steps.map { step in
                AuditEvent(
                    at: now, kind: "step.intended", secret: record.name, version: record.rotation?.version,
                    step: step.text, detail: ["attempt": String((record.rotation?.attempt ?? 0) + 1)])
            }
            change(&record, &outbox)
        }
    }

    /// A rotation that a changed policy has made pointless, while nobody can have seen its key.
    private func reasonToAbandon(_ rotation: RotationRecord, _ record: SecretRecord) -> String? {
        guard !rotation.isRollback, !rotation.machine.isPastFirstPromote, rotation.machine.phase != .abandoning else {
            return nil
        }
        if record.request?.rollsBack == true, (try? Rollback.target(in: record, under: policy, at: now)) != nil {
            return "a rollback was asked for"
        }
        guard let policy else { return "no policy names the secret any more" }
        if policy.origin.issueDigest != rotation.issueDigest { return "the policy asks for another key now" }
        if let expiresAt = record.version(rotation.version)?.expiresAt, expiresAt <= now {
            return "the new key expired before it could be used"
        }
        return nil
    }

    /// Lets backends that joined or left the policy join or leave the rotation, and takes over what was mended at those
    /// that do not have the new value yet.
    private func followPolicy(_ session: inout SecretSession) async throws(JournalError) {
        guard let policy, let rotation = session.record.rotation else { return }
        var machine = rotation.machine
        machine.follow(backends: policy.rotationBackends)
        let stored = session.record.version(rotation.version)?.backends ?? []
        let mended = policy.mended(stored, machine)
        guard machine != rotation.machine || mended != stored else { return }
        let followed = machine
        try await session.commit { record, outbox in
            record.rotation?.machine = followed
            if var version = record.version(rotation.version) {
                version.backends =
                    followed == rotation.machine ? mended : policy.storedBackends(keeping: mended)
                record.put(version)
            }
            outbox.audit.append(
                AuditEvent(
                    at: now, kind: "rotation.policy-changed", secret: record.name, version: rotation.version,
                    detail: ["policy": policy.origin.digest]))
            settleWhenDone(&record, &outbox)
        }
    }
}

extension Policy {
    var rotationBackends: [(name: String, required: Bool)] { backends.map { ($0.name, $0.required) } }

    /// Backends of a version in rotation with their parameters as the policy has them now, such as the reload command of
    /// a file, where the place is the same and the value is still to be promoted. A value that may be there already keeps
    /// its form, by which it is known again.
    func mended(
        _ stored: [VersionRecord.StoredBackend], _ machine: RotationMachine
    ) -> [VersionRecord.StoredBackend] {
        guard machine.phase != .abandoning else { return stored }
        return stored.map { known in
            guard let entry = backends.first(where: { $0.target.isSamePlace(as: known.target) }),
                let progress = machine.progress(of: entry.name)?.progress
            else { return known }
            let template: String?
            switch progress {
            case .waiting, .deferred: template = entry.template?.text
            case .promoting: template = known.template
            case .staged, .promoted, .failed, .unstaged: return known
            }
            return VersionRecord.StoredBackend(
                target: entry.target, template: template, required: known.required, receipt: known.receipt,
                pruned: known.pruned)
        }
    }

    /// The policy's backends as a version records them, with what is already known of those that it has.
    func storedBackends(keeping known: [VersionRecord.StoredBackend]) -> [VersionRecord.StoredBackend] {
        backends.map { entry in
            var stored = entry.stored
            stored.receipt =
                known.first { $0.target == stored.target && $0.template == stored.template }?.receipt ?? [:]
            return stored
        }
    }
}

extension PolicyBackend {
    /// How a version records that it goes here.
    var stored: VersionRecord.StoredBackend {
        VersionRecord.StoredBackend(target: target, template: template?.text, required: required)
    }
}
