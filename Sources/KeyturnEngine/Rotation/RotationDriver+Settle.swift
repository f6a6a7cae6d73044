import Foundation
import KeyturnCore
import Logging

extension RotationDriver {
    /// Proves that the pending key works, before any consumer can see it.
    func verify(_ session: inout SecretSession) async throws(JournalError) -> StepResult {
        guard let policy, let rotation = session.record.rotation,
            let version = session.record.version(rotation.version)
        else { return .moved }
        if rotation.isRollback, version.stage == .disabled { return try await enable(version, &session) }
        try await intend([.verify], &session)
        let verification = KeyVerification(core: core, workplace: workplace)
        let verdict: KeyVerification.Verdict
        do throws(SystemError) {
            verdict = try await verification.verify(
                writing.handle(of: version), issuerName: version.issuer, checks: policy.checks)
        } catch { return .failed(.verify, error) }
        switch verdict {
        case .works:
            try await session.commit { record, outbox in
                apply(.verified, to: &record, &outbox)
                succeed(.verify, in: &record, &outbox)
                settleWhenDone(&record, &outbox)
            }
            return .moved
        case .refused(let reason):
            return .failed(
                .verify,
                SystemError(
                    .rejectedValue,
                    "the \(rotation.isRollback ? "key of version \(version.number)" : "new key") was refused: \(reason)",
                    advice: "see the check in the policy"))
        }
    }

    /// Makes the new version current in the same transaction that learns of the last backend.
    func settleWhenDone(_ record: inout SecretRecord, _ outbox: inout Outbox) {
        guard let rotation = record.rotation, rotation.machine.phase == .settled,
            var version = record.version(rotation.version)
        else { return }
        let now = now
        if var old = record.current, old.number != version.number {
            // A request that came while the rotation was under way is fulfilled by it.
            old.tainted = old.tainted || rotation.compromised || record.request?.compromised ?? false
            old.leave(at: now, grace: old.tainted ? 0 : policy?.grace.timeInterval ?? 0)
            record.put(old)
        }
        let wasCurrent = version.stage == .current
        version.stage = .current
        version.promotedAt = rotation.isRollback ? now : version.promotedAt ?? now
        if rotation.isRollback { version.comeBack(at: now) }
        record.put(version)
        core.dropUnanswered(version.number, in: &record, &outbox)
        record.rotation = nil
        record.abandonedInARow = 0
        if !wasCurrent, record.request?.rollsBack ?? rotation.isRollback == rotation.isRollback {
            outbox.fulfilled = record.request
            outbox.rotates = !rotation.isRollback
        }
        if rotation.reason == PlanReason.repair.rawValue {
            outbox.repaired = record.repairSince
            desk().clear([.driftFound], in: &record, &outbox)
        }
        countAsSucceeded(rotation, &outbox)
        let kind =
            wasCurrent ? "version.distributed" : rotation.isRollback ? "version.rolled-back" : "version.promoted"
        outbox.audit.append(AuditEvent(at: now, kind: kind, secret: record.name, version: version.number))
        desk().clear([.rotationFailed, .rotationOverdue, .keyExpired, .quarantined], in: &record, &outbox)
        outbox.log.append(
            Outbox.LogLine(
                level: .notice,
                message: rotation.isRollback ? "an earlier version is current again" : "new version is current",
                metadata: ["secret": "\(record.name)", "version": "\(version.number)"]))
    }

    /// Turns the rotation round: everything that it did is undone.
    func abandon(_ session: inout SecretSession, because reason: String) async throws(JournalError) {
        core.logger.warning("rotation is abandoned", metadata: ["secret": "\(secret)", "reason": "\(reason)"])
        let now = now
        try await session.commit { record, outbox in
            apply(.abandon, to: &record, &outbox)
            record.rotation?.attempt = 0
            outbox.audit.append(
                AuditEvent(
                    at: now, kind: "rotation.abandoned", secret: record.name, version: record.rotation?.version,
                    detail: ["reason": reason]))
        }
    }

    /// Takes the pending version out of the backends, then revokes its key.
    func undo(_ session: inout SecretSession) async throws(JournalError) -> StepResult {
        guard let rotation = session.record.rotation else { return .moved }
        if rotation.machine.backends.contains(where: { $0.progress == .staged }) { return try await unstage(&session) }
        var resolution: ResolvedStep.Outcome?
        do {
            if let version = session.record.version(rotation.version) {
                // A journal that was put back may take a key for pending that consumers have by now.
                try await restore.confirm(
                    version.backends.filter(\.required).map(\.target), of: session.record, replaceable: { _ in true },
                    unpublished: version)
                let handle = writing.handle(of: version)
                try await revoke(handle, issuedBy: version.issuer, &session)
                if try workplace.issuer(version.issuer).outlives(version, at: now) != nil {
                    try await report(OrphanRecord(givenUp: version, of: secret, since: now), &session)
                }
            } else if let intent = rotation.issueIntent {
                if let policy { try await confirmNotAhead(policy, session.record) }
                resolution = try await revokeUnknown(intent, rotation, &session)
            }
        } catch let error as SystemError {
            return .failed(.revoke, error)
        } catch let error as JournalError {
            throw error
        } catch {
            return .failed(.revoke, SystemError(.local, "undoing failed"))
        }
        try await bury(&session, resolution)
        return .moved
    }

    private func revoke(
        _ handle: KeyHandle, issuedBy name: String, _ session: inout SecretSession
    ) async throws {
        let issuer = try workplace.issuer(name)
        try await intend([.revoke], &session)
        try await core.gates.call(.issuer(name)) { () throws(SystemError) in try await issuer.revoke(handle) }
    }

    /// Undoes a key that may or may not have been made, and tells which it was.
    private func revokeUnknown(
        _ intent: RotationRecord.IssueIntent, _ rotation: RotationRecord, _ session: inout SecretSession
    ) async throws -> ResolvedStep.Outcome {
        let issuer = try workplace.issuer(intent.issuer)
        let request = intent.request(for: secret, version: rotation.version, at: core.time.reading())
        let prepared = try writing.preparation(of: intent, for: rotation.version)
        var resolution = try await core.gates.call(.issuer(intent.issuer)) { () throws(SystemError) in
            try await issuer.resolve(request, prepared: prepared)
        }
        if case .orphaned(let found) = resolution, !found.isEmpty,
            let reason = try await reasonToKeepUnknownKeys(session.record)
        {
            resolution = .ambiguous("\(reason) (\(found.joined(separator: ", ")))")
        }
        let keyIDs: [String?]
        var outcome = ResolvedStep.Outcome.orphanRevoked
        switch resolution {
        case .neverMade:
            keyIDs = []
            outcome = .neverMade
        case .made(let key): keyIDs = [key.keyID]
        case .orphaned(let found): keyIDs = found
        case .undecided(let seconds):
            throw SystemError(.notYet, "it is too early to tell whether the key was made", retryAfter: seconds)
        case .unknowable(let diesAt):
            try await report(
                OrphanRecord(
                    of: request, issuer: intent.issuer, .possible, since: now, until: diesAt,
                    detail: "its creation was given up unanswered"), &session)
            keyIDs = []
            outcome = .possiblyOrphaned
        case .ambiguous(let reason):
            try await report(
                OrphanRecord(
                    of: request, issuer: intent.issuer, .undecided, since: now, until: nil, detail: reason), &session)
            keyIDs = []
            outcome = .possiblyOrphaned
        }
        for keyID in keyIDs {
            try await revoke(
                KeyHandle(
                    secret: secret, version: rotation.version, keyID: keyID, material: prepared.chosen,
                    parameters: intent.parameters), issuedBy: intent.issuer, &session)
        }
        return outcome
    }

    private func report(
        _ orphan: OrphanRecord, _ session: inout SecretSession
    ) async throws(JournalError) {
        let desk = desk()
        try await session.commit { record, outbox in
            outbox.orphans.append(orphan)
            desk.tell(
                .possibleOrphan, severity: .warning, version: orphan.version, reason: orphan.state.rawValue,
                summary: orphan.sentence, advice: "see `keyturn orphans list`", about: record.name, &outbox)
        }
    }

    /// Closes an abandoned rotation. Too many in a row need a person.
    private func bury(
        _ session: inout SecretSession, _ resolution: ResolvedStep.Outcome?
    ) async throws(JournalError) {
        let desk = desk()
        try await session.commit { record, outbox in
            guard let rotation = record.rotation else { return }
            succeed(.revoke, in: &record, &outbox)
            if let resolution {
                core.resolve(
                    RotationStep.issue.text, version: rotation.version, as: resolution,
                    found: UnknownOutcomes.lostAnswer, action: "the rotation was undone", in: &record, &outbox)
            }
            core.dropUnanswered(rotation.version, in: &record, &outbox)
            apply(.revoked, to: &record, &outbox)
            if var version = record.version(rotation.version) {
                version.stage = .abandoned
                version.endedAt = desk.now
                version.sealed = nil
                record.put(version)
            }
            record.rotation = nil
            guard record.request?.rollsBack != true else { return }
            record.abandonedInARow += 1
            if record.abandonedInARow >= core.settings.maximumReissues {
                quarantine(
                    &record, &outbox, desk, reason: "\(record.abandonedInARow) new keys in a row were given up",
                    advice: "see `keyturn history \(record.name)`, then `keyturn resume \(record.name)`")
            }
        }
    }
}
