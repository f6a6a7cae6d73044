import Foundation
import KeyturnCore
import Logging

extension RotationDriver {
    /// The next key to be revoked before anything else of the rotation is done: one that is compromised and still works,
    /// where the policy prefers an outage to that.
    func leakedVersion(_ rotation: RotationRecord, _ record: SecretRecord) -> VersionRecord? {
        guard policy?.retirement.onCompromise == .revokeFirst, rotation.machine.phase != .abandoning else { return nil }
        return record.versions.first { $0.tainted && $0.isAlive && $0.number != rotation.version }
    }

    /// Revokes it. The intent is in its own record, so that a restart revokes it again before it goes on.
    func revokeFirst(
        _ leaked: VersionRecord, _ session: inout SecretSession
    ) async throws(JournalError) -> StepResult {
        let handle = writing.handle(of: leaked)
        try await session.commit { record, outbox in
            guard var version = record.version(leaked.number) else { return }
            version.retirement = version.retirement ?? VersionRecord.RetirementProgress()
            record.put(version)
            outbox.audit.append(audit("step.intended", leaked))
        }
        do throws(SystemError) {
            let issuer = try workplace.issuer(leaked.issuer)
            try await core.gates.call(.issuer(leaked.issuer)) { () throws(SystemError) in
                try await issuer.revoke(handle)
            }
        } catch {
            return .failed(
                .revoke,
                SystemError(
                    error.code, "compromised version \(leaked.number): \(error.message)", advice: error.advice,
                    disposition: error.disposition, mayHaveTakenEffect: error.mayHaveTakenEffect,
                    retryAfter: error.retryAfter))
        }
        try await session.commit { record, outbox in
            guard var version = record.version(leaked.number) else { return }
            version.retirement?.revoked = true
            version.retirement?.attempt = 0
            version.retirement?.lastError = nil
            version.retirement?.nextAttempt = nil
            record.put(version)
            record.rotation?.attempt = 0
            record.rotation?.lastError = nil
            record.rotation?.nextAttempt = nil
            outbox.audit.append(audit("step.succeeded", leaked))
        }
        core.logger.notice(
            "a compromised key is revoked before its replacement is made",
            metadata: ["secret": "\(secret)", "version": "\(leaked.number)"])
        return .moved
    }

    private func audit(_ kind: String, _ version: VersionRecord) -> AuditEvent {
        AuditEvent(
            at: now, kind: kind, secret: secret, version: version.number, step: RotationStep.revoke.text,
            detail: version.keyID.map { ["keyId": $0] } ?? [:])
    }
}
