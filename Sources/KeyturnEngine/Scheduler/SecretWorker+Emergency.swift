import Foundation
import KeyturnCore
import Logging

extension SecretWorker {
    /// Marks what is compromised for good: every version that is or was served and may still work. It does so whatever
    /// holds the secret up, for it has no effect outside.
    func taint(_ session: inout SecretSession) async throws(JournalError) {
        guard session.record.request?.compromised == true else { return }
        let leaked = session.record.versions.filter { !$0.tainted && $0.isAlive }
        // To put a compromised version into further places is of no use, and would hold up its replacement.
        let isSpreading = session.record.rotation?.reason == PlanReason.newBackend.rawValue
        guard !leaked.isEmpty || isSpreading else { return }
        let now = core.time.now()
        try await session.commit { record, outbox in
            for var version in leaked {
                version.tainted = true
                if version.isLeaving { version.retireAt = min(version.retireAt ?? now, now) }
                version.retirement?.nextAttempt = nil
                record.put(version)
                outbox.audit.append(
                    AuditEvent(at: now, kind: "version.tainted", secret: record.name, version: version.number))
            }
            record.rotation?.nextAttempt = nil
            guard isSpreading, let rotation = record.rotation else { return }
            record.rotation = nil
            outbox.audit.append(
                AuditEvent(
                    at: now, kind: "rotation.abandoned", secret: record.name, version: rotation.version,
                    detail: ["reason": "the version is compromised"]))
        }
    }

    /// The version that a rollback leads to, when one was asked for and may begin. One that may not is refused here, for
    /// good; one that waits for an earlier rotation to be undone is not.
    func rollbackTarget(
        _ policy: Policy?, _ session: inout SecretSession, _ outcome: inout WorkOutcome
    ) async throws(JournalError) -> VersionRecord? {
        guard let request = session.record.request, request.rollsBack, session.record.rotation?.isRollback != true,
            !session.isPaused(through: session.record.issuers(under: policy))
        else { return nil }
        let now = core.time.now()
        let installation = try await core.journal.installationState()
        let target: VersionRecord
        do throws(RollbackRefusal) {
            target = try Rollback.target(in: session.record, under: policy, installation, at: now)
        } catch {
            core.logger.warning(
                "rollback refused", metadata: ["secret": "\(session.record.name)", "reason": "\(error)"])
            try await session.commit { record, outbox in
                outbox.fulfilled = request
                outbox.audit.append(
                    AuditEvent(
                        at: now, kind: "rollback.refused", secret: record.name,
                        detail: ["reason": error.description]))
            }
            outcome.result = .failed(.rollback(error.description, advice: error.advice, at: now))
            return nil
        }
        if session.record.isReleasedByRollback {
            let desk = desk(policy)
            try await session.commit { record, outbox in
                record.quarantine = nil
                record.abandonedInARow = 0
                record.rotation?.attempt = 0
                record.rotation?.nextAttempt = nil
                outbox.audit.append(
                    AuditEvent(
                        at: now, kind: "secret.resumed", secret: record.name, detail: ["reason": "rollback"]))
                desk.clear([.quarantined], in: &record, &outbox)
            }
        }
        if session.record.rotation?.nextAttempt != nil, session.record.rotation?.machine.phase != .abandoning {
            try await session.commit { record, _ in record.rotation?.nextAttempt = nil }
        }
        return target
    }

    /// Whether a rotation may begin now. Where rotations are limited, one that the schedule asks for lines up first, so
    /// that those whose keys expire first go first.
    func hasPlace(
        _ plan: SecretPlan, _ session: inout SecretSession, _ outcome: inout WorkOutcome
    ) async throws(JournalError) -> Bool {
        guard let limit = core.settings.maxRotationsPerHour, plan.reason != .newBackend else { return true }
        let now = core.time.now()
        let record = session.record
        let isAsked = record.request != nil
        guard isAsked || record.waiting != nil else {
            try await session.commit { record, _ in
                record.waiting = SecretRecord.Waiting(
                    since: now, until: now.addingTimeInterval(lineUpTime), expiresAt: record.current?.expiresAt,
                    limit: limit)
            }
            outcome.linesUp = true
            return false
        }
        let opening = try await core.journal.takePlace(
            RotationPlaces.Request(
                secret: record.name, version: record.nextNumber, at: now, limit: isAsked ? nil : limit,
                expiresAt: record.current?.expiresAt))
        guard let opening else { return true }
        try await session.commit { record, _ in
            record.waiting = SecretRecord.Waiting(
                since: record.waiting?.since ?? now, until: opening, expiresAt: record.current?.expiresAt,
                limit: limit)
        }
        return false
    }
}
