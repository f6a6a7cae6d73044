import Foundation
import KeyturnCore
import Logging

// Going back to the version that was current before. It is a rotation without an issue: the old key is proven to work,
// promoted everywhere, and takes the place of the present one, which gets the usual grace.
extension RotationDriver {
    /// Starts it. Nothing outside has happened yet.
    func beginRollback(_ session: inout SecretSession, to target: VersionRecord) async throws(JournalError) {
        guard let policy else { return }
        let now = now
        try await session.commit { record, outbox in
            var version = target
            let left = target.backends.filter { known in
                !policy.backends.contains { $0.name == known.target.backend }
            }
            version.backends = policy.storedBackends(keeping: target.backends) + left
            record.put(version)
            record.waiting = nil
            record.rotation = RotationRecord(
                version: version.number, machine: RotationMachine(returningTo: policy.rotationBackends), startedAt: now,
                reason: PlanReason.rollback.rawValue, compromised: false, issueDigest: policy.origin.issueDigest)
            outbox.audit.append(
                AuditEvent(
                    at: now, kind: "rollback.started", secret: record.name, version: version.number,
                    detail: [
                        "from": record.current.map { String($0.number) } ?? "-", "policy": policy.origin.digest,
                    ]))
        }
        core.logger.info(
            "rollback started", metadata: ["secret": "\(secret)", "version": "\(target.number)"])
    }

    /// A disabled key is switched on before it is asked whether it works.
    func enable(_ version: VersionRecord, _ session: inout SecretSession) async throws(JournalError) -> StepResult {
        try await intend([.enable], &session)
        let handle = writing.handle(of: version)
        do throws(SystemError) {
            guard let issuer = try workplace.issuer(version.issuer) as? any DisablesKeys else {
                throw SystemError(
                    .unsupported,
                    "issuer '\(version.issuer)' can't enable the disabled key of version \(version.number)")
            }
            try await core.gates.call(.issuer(version.issuer)) { () throws(SystemError) in
                try await issuer.enable(handle)
            }
        } catch { return .failed(.enable, error) }
        try await session.commit { record, outbox in
            guard var version = record.version(version.number) else { return }
            version.stage = .previous
            version.disabledAt = nil
            record.put(version)
            succeed(.enable, in: &record, &outbox)
        }
        return .moved
    }

    /// Why a rollback that no consumer can have seen is given up.
    func reasonToDrop(_ rotation: RotationRecord, _ record: SecretRecord) -> String? {
        guard rotation.isRollback, !rotation.machine.isPastFirstPromote else { return nil }
        guard policy != nil else { return "no policy names the secret any more" }
        guard let version = record.version(rotation.version) else { return "the version is gone" }
        if version.tainted { return RollbackRefusal.compromised(version.number).description }
        if let expiresAt = version.expiresAt, expiresAt <= now {
            return RollbackRefusal.expired(version.number, at: expiresAt).description
        }
        return nil
    }

    /// Forgets a rollback. There is nothing to undo: what was current still is.
    func drop(_ record: inout SecretRecord, _ outbox: inout Outbox, because reason: String) {
        outbox.audit.append(
            AuditEvent(
                at: now, kind: "rollback.refused", secret: record.name, version: record.rotation?.version,
                detail: ["reason": reason]))
        record.rotation = nil
        desk().clear([.rotationFailed], in: &record, &outbox)
        if record.request?.rollsBack == true { outbox.fulfilled = record.request }
        core.logger.warning("rollback is given up", metadata: ["secret": "\(secret)", "reason": "\(reason)"])
    }

    /// Drops a rollback outside of any step, and says so as a failure of it.
    func dropRollback(_ session: inout SecretSession, because reason: String) async throws(JournalError) -> StepFailure
    {
        try await session.commit { record, outbox in drop(&record, &outbox, because: reason) }
        return StepFailure.rollback(reason, advice: "`keyturn rotate \(secret)` makes a new key", at: now)
    }
}

extension StepFailure {
    /// A rollback that can't be.
    static func rollback(_ reason: String, advice: String, at date: Date) -> StepFailure {
        StepFailure(step: "rollback", code: .conflict, message: reason, advice: advice, at: date)
    }
}
