import Foundation
import KeyturnCore
import Logging

extension RotationDriver {
    /// A wish for a repair that comes while a rotation is under way: the rotation itself may replace what it finds, so
    /// that a value which somebody put there holds it up no longer.
    func letRotationRepair(_ session: inout SecretSession) async throws(JournalError) {
        let record = session.record
        guard let since = record.repairSince, let rotation = record.rotation, rotation.repairs == nil,
            record.pausedSince == nil
        else { return }
        let names = rotation.machine.backends.map(\.name)
        let now = now
        try await session.commit { record, outbox in
            record.rotation?.repairs = names
            // A distribution of the current version goes on as a repair, and fulfils the wish when it is over.
            if rotation.version != record.current?.number { outbox.repaired = since }
            outbox.audit.append(
                AuditEvent(
                    at: now, kind: "rotation.overwrites", secret: record.name, version: rotation.version,
                    detail: ["backends": names.joined(separator: " ")]))
        }
    }

    /// Starts to put the promoted value back where a backend holds another one or none: a distribution that may
    /// overwrite, after what is left over of versions that are gone was taken away.
    func beginRepair(_ policy: Policy, _ session: inout SecretSession) async throws(JournalError) {
        let findings = await DriftInspector(core: core, workplace: workplace).examine(session.record)
        for finding in findings {
            if let leftover = finding.leftover { try await tidy(leftover, at: finding.target, &session) }
        }
        let drifted = Set(findings.filter(\.isMendedByPromoting).map(\.target.backend))
        let now = now
        try await session.commit { record, outbox in
            guard let current = record.current, !drifted.isEmpty else {
                outbox.repaired = record.repairSince
                outbox.audit.append(
                    AuditEvent(
                        at: now, kind: "distribution.unneeded", secret: record.name, version: record.current?.number))
                return
            }
            let progress = policy.backends.map { entry in
                RotationMachine.BackendProgress(
                    name: entry.name, required: entry.required,
                    progress: drifted.contains(entry.name) ? .deferred : .promoted)
            }
            var rotation = RotationRecord(
                version: current.number, machine: RotationMachine(distributingTo: progress), startedAt: now,
                reason: PlanReason.repair.rawValue, compromised: false, issueDigest: policy.origin.issueDigest)
            rotation.repairs = drifted.sorted()
            record.rotation = rotation
            outbox.audit.append(
                AuditEvent(
                    at: now, kind: "distribution.started", secret: record.name, version: current.number,
                    detail: [
                        "backends": drifted.sorted().joined(separator: " "), "policy": policy.origin.digest,
                        "reason": PlanReason.repair.rawValue,
                    ]))
        }
        guard !drifted.isEmpty else { return }
        core.logger.notice(
            "the promoted value is put back",
            metadata: ["secret": "\(secret)", "backends": "\(drifted.sorted().joined(separator: " "))"])
    }

    /// Takes away what is left of a version that the journal knows to be over. One that can't be is reported again.
    private func tidy(
        _ leftover: DriftFinding.Leftover, at target: BackendTarget, _ session: inout SecretSession
    ) async throws(JournalError) {
        let step: RotationStep =
            leftover.isPending ? .unstage(backend: target.backend) : .prune(backend: target.backend)
        let number = leftover.reference.version
        let intendedAt = now
        try await session.commit { record, outbox in
            record.intend([step], version: number, at: intendedAt)
            outbox.audit.append(
                AuditEvent(
                    at: intendedAt, kind: "step.intended", secret: record.name, version: number, step: step.text))
        }
        var failure: SystemError?
        do throws(SystemError) {
            let backend = try workplace.backend(target.backend)
            try await core.gates.call(.backend(target.backend)) { () throws(SystemError) in
                if leftover.isPending {
                    try await backend.unstage(leftover.reference, at: target)
                } else {
                    try await backend.prune(leftover.reference, at: target)
                }
            }
        } catch { failure = error }
        let refused = failure
        let now = now
        try await session.commit { record, outbox in
            if refused == nil {
                core.answered(step.text, version: number, in: &record, &outbox)
            } else {
                core.failed(number, in: &record)
            }
            outbox.audit.append(
                AuditEvent(
                    at: now, kind: refused == nil ? "step.succeeded" : "step.failed", secret: record.name,
                    version: number, step: step.text,
                    detail: refused.map { ["code": $0.code.rawValue, "message": $0.message] } ?? [:]))
        }
        guard let refused else { return }
        core.logger.warning(
            "what is left of an old version can't be taken away",
            metadata: [
                "secret": "\(secret)", "version": "\(number)", "step": "\(step.text)",
                "code": "\(refused.code.rawValue)", "error": "\(refused.message)",
            ])
    }
}
