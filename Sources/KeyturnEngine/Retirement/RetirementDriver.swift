import Foundation
import KeyturnCore
import Logging

/// Brings one old version to its end: asks the gates, then disables, revokes and prunes, one durable step after the other.
///
/// The version's record is its entry in the retire queue; it stays there until all is done, whatever fails in between.
final class RetirementDriver: Sendable {
    let core: EngineCore
    let workplace: Workplace
    let policy: Policy?
    let secret: SecretName

    init(core: EngineCore, workplace: Workplace, policy: Policy?, secret: SecretName) {
        self.core = core
        self.workplace = workplace
        self.policy = policy
        self.secret = secret
    }

    /// How far it came this time.
    enum Rest {
        case retired
        /// A gate is closed or the next step has its time later.
        case waiting
        case failed(StepFailure)
        case parked
    }

    var writing: VersionWriting { VersionWriting(core: core, workplace: workplace, secret: secret) }
    var restore: RestoreWatch { RestoreWatch(core: core, workplace: workplace, secret: secret) }
    var now: Date { core.time.now() }

    func drive(_ number: Int, _ session: inout SecretSession) async throws(JournalError) -> Rest {
        while let version = session.record.version(number), version.stage == .previous || version.stage == .disabled {
            guard !core.stop.isAsked, !Task.isCancelled else { return .parked }
            try await session.refreshWishes()
            guard !session.isPaused(through: [version.issuer]) else { return .waiting }
            do {
                if version.stage == .disabled, let reason = version.retirement?.undoing {
                    try await undo(version, because: reason, &session)
                    continue
                }
                if let blocked = try await blockingGate(version, session.record) {
                    if blocked.gate == .healthy, version.stage == .disabled {
                        try await undo(version, because: blocked.sentence, &session)
                        continue
                    }
                    return try await wait(for: blocked, version, &session)
                }
                try await takeNext(version, &session)
            } catch let error as JournalError {
                throw error
            } catch let failed as StepError {
                guard failed.error.code != .cancelled else { return .parked }
                return .failed(try await fail(version, failed, &session))
            } catch {
                throw JournalError.failed("retiring stopped for an unknown reason")
            }
        }
        return .retired
    }

    /// A step and what it threw.
    struct StepError: Error {
        let step: RotationStep
        let error: SystemError
    }

    private func takeNext(_ version: VersionRecord, _ session: inout SecretSession) async throws {
        if version.retirement?.revoked != true {
            let issuer = try found { () throws(SystemError) in try workplace.issuer(version.issuer) }
            if version.stage == .previous, !version.tainted, policy?.retirement.observe != nil,
                let issuer = issuer as? any DisablesKeys
            {
                return try await disable(version, issuer, &session)
            }
            return try await revoke(version, issuer, &session)
        }
        if version.retirement?.refused != true, let issuer = workplace.issuers[version.issuer], issuer.traits.checks,
            issuer.traits.revokes
        {
            let handle = writing.handle(of: version)
            if handle.material != nil { return try await proveRefused(version, handle, issuer, &session) }
        }
        guard let backend = version.backends.first(where: { !$0.pruned }) else {
            return try await close(version, &session)
        }
        try await prune(version, backend, &session)
    }

    func found<Result>(_ body: () throws(SystemError) -> Result) throws -> Result {
        do throws(SystemError) { return try body() } catch { throw StepError(step: .revoke, error: error) }
    }

    func audit(
        _ kind: String, _ step: RotationStep, _ version: VersionRecord, _ detail: [String: String] = [:]
    ) -> AuditEvent {
        AuditEvent(
            at: now, kind: kind, secret: secret, version: version.number, step: step.text,
            detail: version.keyID.map { detail.merging(["keyId": $0]) { first, _ in first } } ?? detail)
    }
}

extension RetirementDriver {
    /// A closed gate: come back when it opens, or ask again later and tell a person once it lasts.
    private func wait(
        for gate: GateResult, _ version: VersionRecord, _ session: inout SecretSession
    ) async throws(JournalError) -> Rest {
        // What opens by the clock alone needs no note.
        let byClock: Set<RetirementGate> = [.gracePassed, .backoffPassed, .observed, .successorPromoted, .healthy]
        if gate.gate == .observed, policy?.retirement.health.isEmpty == false {
            let next = now.addingTimeInterval(policy?.retirement.healthInterval ?? 0)
            try await session.commit { record, _ in
                guard var version = record.version(version.number) else { return }
                version.retirement = version.retirement ?? VersionRecord.RetirementProgress()
                version.retirement?.nextHealthCheck = next
                record.put(version)
            }
        }
        guard !byClock.contains(gate.gate) else { return .waiting }
        let error = SystemError(.notYet, gate.sentence, retryAfter: nil)
        let again = gate.opensAt.map { max(1, min(3600, $0.timeIntervalSince(now))) }
        _ = try await fail(
            version, StepError(step: .revoke, error: error), gate: gate, after: again, &session)
        return .waiting
    }

    private func fail(
        _ version: VersionRecord, _ failed: StepError, gate: GateResult? = nil, after seconds: Double? = nil,
        _ session: inout SecretSession
    ) async throws(JournalError) -> StepFailure {
        let desk = AlertDesk(core: core, policy: policy, sinks: workplace.sinkNames(for: policy), now: now)
        let failure = StepFailure(step: failed.step, error: failed.error, at: desk.now)
        let attempt = (version.retirement?.attempt ?? 0) + (failed.error.code == .circuitOpen ? 0 : 1)
        let delay = seconds ?? core.retryDelay(attempt: attempt, retryAfter: failed.error.retryAfter)
        core.logger.warning(
            "an old version can't be retired yet",
            metadata: [
                "secret": "\(secret)", "version": "\(version.number)", "step": "\(failed.step.text)",
                "code": "\(failed.error.code.rawValue)", "error": "\(failed.error.message)",
            ])
        try await session.commit { record, outbox in
            guard var version = record.version(version.number) else { return }
            var progress = version.retirement ?? VersionRecord.RetirementProgress()
            progress.attempt = attempt
            // Revoking it may not have come through.
            if failed.step == .proveRefused { progress.revoked = false }
            progress.lastError = failure
            progress.nextAttempt = desk.now.addingTimeInterval(delay)
            version.retirement = progress
            record.put(version)
            core.failed(version.number, in: &record)
            let word = gate?.gate.rawValue ?? failed.error.code.rawValue
            outbox.audit.append(
                audit(
                    gate == nil ? "step.failed" : "retire.blocked", failed.step, version,
                    ["code": word, "attempt": String(attempt), "message": failed.error.message]))
            guard failed.step == .proveRefused || isWorthTelling(gate, failed.error, version, attempt, desk.now) else {
                return
            }
            desk.raise(
                .retireBlocked, severity: .warning, version: version.number, step: failed.step.text, reason: word,
                summary: "version \(version.number) of \(record.name) can't be retired: \(failed.error.message)",
                advice: failed.error.advice.isEmpty ? "see `keyturn explain \(record.name)`" : failed.error.advice,
                in: &record, &outbox)
        }
        return failure
    }

    /// An old key still in use is told after a day; a gate or step that fails, from its second time on.
    private func isWorthTelling(
        _ gate: GateResult?, _ error: SystemError, _ version: VersionRecord, _ attempt: Int, _ now: Date
    ) -> Bool {
        // These are told once, for the installation as a whole.
        if gate?.gate == .clockSane || gate?.gate == .stateNewest { return false }
        if gate?.gate == .unused { return now.timeIntervalSince(version.retireAt ?? now) > 86_400 }
        return attempt >= 2 || error.disposition == .permanent
    }
}
