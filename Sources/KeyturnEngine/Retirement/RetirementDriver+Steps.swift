import Foundation
import KeyturnCore
import Logging

/// The steps of a retirement: each with a durable intent before it and its outcome after it.
extension RetirementDriver {
    func disable(
        _ version: VersionRecord, _ issuer: any DisablesKeys, _ session: inout SecretSession
    ) async throws {
        let handle = writing.handle(of: version)
        try await step(.disable, version, &session) { () throws(SystemError) in
            try await core.gates.call(.issuer(version.issuer)) { () throws(SystemError) in
                try await issuer.disable(handle)
            }
        } then: { version, now in
            version.stage = .disabled
            version.disabledAt = now
        }
    }

    func revoke(
        _ version: VersionRecord, _ issuer: any Issuer, _ session: inout SecretSession
    ) async throws {
        let handle = writing.handle(of: version)
        try await step(.revoke, version, &session) { () throws(SystemError) in
            try await core.gates.call(.issuer(version.issuer)) { () throws(SystemError) in
                try await issuer.revoke(handle)
            }
        } then: { version, _ in
            version.retirement?.revoked = true
        }
    }

    /// Switches a key on again, because what used it fails without it. The intent lasts over a crash: a check that passes
    /// because the key is on again proves nothing.
    func undo(
        _ version: VersionRecord, because reason: String, _ session: inout SecretSession
    ) async throws {
        let issuer = try found { () throws(SystemError) in try workplace.issuer(version.issuer) }
        guard let issuer = issuer as? any DisablesKeys else { return }
        let handle = writing.handle(of: version)
        try await step(.enable, version, &session, undoing: reason) {
            () throws(SystemError) in
            try await core.gates.call(.issuer(version.issuer)) { () throws(SystemError) in
                try await issuer.enable(handle)
            }
        } then: { version, _ in
            version.stage = .previous
            version.disabledAt = nil
            version.retirement?.undoing = nil
            version.retirement?.undone = reason
        }
        let desk = AlertDesk(core: core, policy: policy, sinks: workplace.sinkNames(for: policy), now: now)
        try await session.commit { record, outbox in
            desk.raise(
                .retireBlocked, severity: .error, version: version.number, step: RotationStep.disable.text,
                reason: RetirementGate.healthy.rawValue,
                summary: "version \(version.number) of \(record.name) was switched on again: \(reason)",
                advice: "find out what still uses the old key, then `keyturn resume \(record.name)`", in: &record,
                &outbox)
        }
    }

    /// Asks until the issuer refuses the old key: some take their time.
    func proveRefused(
        _ version: VersionRecord, _ handle: KeyHandle, _ issuer: any Issuer, _ session: inout SecretSession
    ) async throws {
        try await step(.proveRefused, version, &session) { () throws(SystemError) in
            let deadline = core.time.now().addingTimeInterval(core.settings.verifyPatience)
            while true {
                let answer = try await core.gates.call(.issuer(version.issuer)) { () throws(SystemError) in
                    try await issuer.check(handle)
                }
                guard answer == .works else { return }
                guard core.time.now() < deadline, !core.stop.isAsked else {
                    throw SystemError(
                        .notYet, "the issuer still accepts the key after it was revoked",
                        advice: "it is revoked again; see at the issuer whether the key is gone")
                }
                try await core.pause(core.settings.pollInterval)
            }
        } then: { version, _ in
            version.retirement?.refused = true
        }
    }

    func prune(
        _ version: VersionRecord, _ backend: VersionRecord.StoredBackend, _ session: inout SecretSession
    ) async throws {
        let name = backend.target.backend
        let reference = writing.reference(version, at: backend)
        try await step(.prune(backend: name), version, &session) { () throws(SystemError) in
            // A backend that left the configuration keeps a value that no longer works.
            guard let adapter = workplace.backends[name] else { return }
            do throws(SystemError) {
                try await core.gates.call(.backend(name)) { () throws(SystemError) in
                    try await adapter.prune(reference, at: backend.target)
                }
            } catch {
                // The key is dead already; a best-effort backend that can't clean up holds nothing up.
                guard backend.required || error.code == .cancelled || error.disposition == .passing else { return }
                throw error
            }
        } then: { version, _ in
            for index in version.backends.indices where version.backends[index].target == backend.target {
                version.backends[index].pruned = true
            }
        }
    }

    func close(_ version: VersionRecord, _ session: inout SecretSession) async throws(JournalError) {
        let desk = AlertDesk(core: core, policy: policy, sinks: workplace.sinkNames(for: policy), now: now)
        let end = workplace.issuers[version.issuer].flatMap { $0.outlives(version, at: desk.now) }
        try await session.commit { record, outbox in
            guard var version = record.version(version.number) else { return }
            version.stage = .retired
            version.endedAt = desk.now
            version.sealed = nil
            version.retirement = nil
            record.put(version)
            core.dropUnanswered(version.number, in: &record, &outbox)
            outbox.audit.append(
                AuditEvent(
                    at: desk.now, kind: "version.retired", secret: record.name, version: version.number,
                    detail: end.map { ["acceptedUntil": $0] } ?? [:]))
            desk.clear([.retireBlocked], in: &record, &outbox)
        }
        core.logger.notice(
            "old version is retired",
            metadata: ["secret": "\(secret)", "version": "\(version.number)"].merging(
                end.map { ["acceptedUntil": "\($0)"] } ?? [:]
            ) { own, _ in own })
    }

    /// Intent, effect, outcome.
    private func step(
        _ step: RotationStep, _ version: VersionRecord, _ session: inout SecretSession,
        undoing reason: String? = nil, _ effect: () async throws(SystemError) -> Void,
        then change: (inout VersionRecord, Date) -> Void
    ) async throws {
        try await session.commit { record, outbox in
            guard var version = record.version(version.number) else { return }
            version.retirement = version.retirement ?? VersionRecord.RetirementProgress()
            if let reason { version.retirement?.undoing = reason }
            record.put(version)
            record.intend([step], version: version.number, at: core.time.now())
            outbox.audit.append(audit("step.intended", step, version))
        }
        do throws(SystemError) { try await effect() } catch { throw StepError(step: step, error: error) }
        let now = now
        try await session.commit { record, outbox in
            guard var version = record.version(version.number) else { return }
            change(&version, now)
            version.retirement?.attempt = 0
            version.retirement?.lastError = nil
            version.retirement?.nextAttempt = nil
            record.put(version)
            outbox.audit.append(audit("step.succeeded", step, version))
            core.answered(step.text, version: version.number, in: &record, &outbox)
        }
        core.logger.info(
            "step done", metadata: ["secret": "\(secret)", "step": "\(step.text)", "version": "\(version.number)"])
    }
}
