import Foundation
import KeyturnCore
import Logging

extension RotationDriver {
    /// Decides what a failed step leads to: another try later, a new key, or a person.
    func fail(
        _ session: inout SecretSession, at step: RotationStep, with error: SystemError
    ) async throws(JournalError) -> StepFailure {
        let failure = StepFailure(step: step, error: error, at: now)
        let desk = desk()
        let remaining = lastSafeStart(session.record).map { $0.timeIntervalSince(desk.now) }
        // Nothing failed where it is too early to tell: it is asked again when that is over, not later each time.
        let isWait = error.code == .notYet && error.retryAfter != nil
        let attempt = (session.record.rotation?.attempt ?? 0) + (isWait || error.code == .circuitOpen ? 0 : 1)
        let delay = core.retryDelay(attempt: isWait ? 1 : attempt, deadline: remaining, retryAfter: error.retryAfter)
        core.logger.warning(
            "step failed",
            metadata: [
                "secret": "\(secret)", "step": "\(step.text)", "code": "\(error.code.rawValue)",
                "error": "\(error.message)", "attempt": "\(attempt)",
            ])
        try await session.commit { record, outbox in
            guard var rotation = record.rotation else { return }
            rotation.attempt = attempt
            rotation.lastError = failure
            rotation.nextAttempt = desk.now.addingTimeInterval(delay)
            record.rotation = rotation
            core.failed(rotation.version, in: &record)
            outbox.audit.append(
                AuditEvent(
                    at: desk.now, kind: "step.failed", secret: record.name, version: rotation.version, step: step.text,
                    detail: [
                        "code": error.code.rawValue, "attempt": String(attempt), "message": error.message,
                    ]))
            if rotation.isRollback, !rotation.machine.isPastFirstPromote,
                error.disposition == .permanent || attempt >= core.settings.maximumAttempts
            {
                // What is current still is; whoever asked for it decides what to do instead.
                return drop(&record, &outbox, because: "\(step.text): \(error.message)")
            }
            if error.code == .rejectedValue, !rotation.machine.isPastFirstPromote,
                rotation.machine.phase != .abandoning
            {
                countAsFailed(&record, &outbox)
                apply(.abandon, to: &record, &outbox)
                record.rotation?.attempt = 0
                record.rotation?.nextAttempt = nil
            } else if error.disposition == .permanent {
                countAsFailed(&record, &outbox)
                quarantine(&record, &outbox, desk, reason: "\(step.text): \(error.message)", advice: error.advice)
            } else if attempt >= core.settings.maximumAttempts {
                countAsFailed(&record, &outbox)
                quarantine(
                    &record, &outbox, desk, reason: "\(step.text) failed \(attempt) times: \(error.message)",
                    advice: error.advice)
            }
            guard error.code != .notYet || attempt > 1, !isWait else { return }
            desk.raise(
                .rotationFailed, severity: .error, version: rotation.version, step: step.text,
                reason: error.code.rawValue, summary: "\(step.text) of \(record.name) failed: \(error.message)",
                advice: error.advice, in: &record, &outbox)
        }
        return failure
    }

    /// Hands the secret to a person: nothing is tried any more until `resume`.
    func quarantine(
        _ record: inout SecretRecord, _ outbox: inout Outbox, _ desk: AlertDesk, reason: String, advice: String
    ) {
        guard record.quarantine == nil else { return }
        record.quarantine = SecretRecord.Quarantine(since: desk.now, reason: reason)
        outbox.audit.append(
            AuditEvent(at: desk.now, kind: "secret.quarantined", secret: record.name, detail: ["reason": reason]))
        desk.raise(
            .quarantined, severity: .critical, version: record.rotation?.version, step: nil, reason: "quarantined",
            summary: "\(record.name) is quarantined: \(reason)",
            advice: advice.isEmpty ? "mend it, then `keyturn resume \(record.name)`" : advice, in: &record, &outbox)
    }

    private func lastSafeStart(_ record: SecretRecord) -> Date? {
        guard let policy, let current = record.current else { return nil }
        return RotationTiming.next(policy: policy, current: current, schedule: record.schedule)?.lastSafeStart
    }
}
