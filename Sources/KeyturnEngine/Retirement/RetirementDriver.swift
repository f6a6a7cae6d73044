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

    private var writing: VersionWriting { VersionWriting(core: core, workplace: workplace, secret: secret) }
    private var restore: RestoreWatch { RestoreWatch(core: core, workplace: workplace, secret: secret) }
    private var now: Date { core.time.now() }

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
    private struct StepError: Error {
        let step: RotationStep
        let error: SystemError
    }

    /// The first gate that is closed. Outside systems are asked only once the others are open.
    private func blockingGate(_ version: VersionRecord, _ record: SecretRecord) async throws -> GateResult? {
        let issuer = workplace.issuers[version.issuer]
        var facts = RetirementFacts(
            version: version, successor: record.current, rotationInFlight: record.rotation != nil, now: now,
            rule: policy?.retirement ?? RetirementRule(), reportsLastUse: issuer is any ReportsLastUse,
            disables: issuer is any DisablesKeys, installation: try await core.journal.installationState())
        // It is looked at anew below.
        facts.clock = nil
        func firstBlocked() -> GateResult? { RetirementGate.judge(facts).first { $0.verdict == .blocked } }
        if let blocked = firstBlocked() {
            guard blocked.gate == .observed, facts.isWatched else { return blocked }
            do throws(SystemError) { facts.health = try await health(record) } catch {
                throw StepError(step: .disable, error: error)
            }
            return firstBlocked()
        }
        // Once it is revoked only pruning is left, and that harms nobody.
        if version.retirement?.revoked == true || facts.revokesFirst { return nil }
        do throws(SystemError) {
            facts.unconfirmedBackends = try await unconfirmedBackends(record)
            if let freeze = try await freeze() { return GateResult(.stateNewest, .blocked, freeze) }
            if let blocked = firstBlocked() { return blocked }
            facts.successorWorks = try await successorWorks(record)
            if let blocked = firstBlocked() { return blocked }
        } catch { throw StepError(step: .revoke, error: error) }
        // Those that were asked have said what time it is.
        facts.clock = RetirementFacts.Clock(try await core.clock.look(telling: workplace.sinks.keys.sorted()))
        if let blocked = firstBlocked() { return blocked }
        do throws(SystemError) {
            facts.lastUse = try await lastUse(version, facts)
            if let blocked = firstBlocked() { return blocked }
            if facts.isWatched { facts.health = try await health(record) }
        } catch { throw StepError(step: .revoke, error: error) }
        return firstBlocked()
    }

    private func freeze() async throws(SystemError) -> String? {
        do throws(JournalError) { return try await core.journal.installationState().freeze } catch {
            throw SystemError(.local, error.description, disposition: .passing)
        }
    }

    /// Runs the policy's health checks with the current key. One that fails is asked once more.
    private func health(_ record: SecretRecord) async throws(SystemError) -> RetirementFacts.Health {
        guard let current = record.current else { return .failed("no version is current") }
        let handle = writing.handle(of: current)
        for check in policy?.retirement.health ?? [] {
            var failure = try await failure(of: check, handle)
            if failure != nil {
                try await core.pause(core.settings.pollInterval)
                failure = try await self.failure(of: check, handle)
            }
            if let failure { return .failed("the health check '\(check.type)' failed: \(failure)") }
        }
        return .passed
    }

    /// - Returns: why the check failed; one that can't be run has failed.
    private func failure(of check: PolicyCheck, _ key: KeyHandle) async throws(SystemError) -> String? {
        do throws(SystemError) {
            switch try await workplace.verifier(check).verify(key) {
            case .works, .cannotTell: return nil
            case .notYet(let reason), .refused(let reason): return reason
            }
        } catch {
            guard error.code != .cancelled else { throw error }
            return error.message
        }
    }

    private func unconfirmedBackends(_ record: SecretRecord) async throws(SystemError) -> [String] {
        guard let current = record.current else { return [] }
        var missing: [String] = []
        for backend in current.backends where backend.required {
            let adapter = try workplace.backend(backend.target.backend)
            guard adapter.traits.readsBack else { continue }
            let expected = try writing.rendered(current, for: backend)
            let stored = try await core.gates.call(.backend(backend.target.backend)) { () throws(SystemError) in
                try await adapter.read(.current, at: backend.target)
            }
            guard stored?.value.matches(expected) != true else { continue }
            missing.append(backend.target.backend)
            _ = try await restore.isAhead(backend.target, of: record)
        }
        return missing
    }

    private func successorWorks(_ record: SecretRecord) async throws(SystemError) -> Bool {
        guard let current = record.current else { return false }
        let issuer = try workplace.issuer(current.issuer)
        guard issuer.traits.checks else { return true }
        let handle = writing.handle(of: current)
        let answer = try await core.gates.call(.issuer(current.issuer)) { () throws(SystemError) in
            try await issuer.check(handle)
        }
        return answer == .works || answer == .cannotTell
    }

    private func lastUse(
        _ version: VersionRecord, _ facts: RetirementFacts
    ) async throws(SystemError) -> RetirementFacts.LastUse? {
        guard facts.rule.whenUnused != nil, !facts.skipsPatience, version.stage == .previous,
            let issuer = workplace.issuers[version.issuer] as? any ReportsLastUse
        else { return nil }
        let handle = writing.handle(of: version)
        let date = try await core.gates.call(.issuer(version.issuer)) { () throws(SystemError) in
            try await issuer.lastUse(of: handle)
        }
        return date.map(RetirementFacts.LastUse.at) ?? .never
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
        if version.retirement?.refused != true, let issuer = workplace.issuers[version.issuer], issuer.traits.checks {
            let handle = writing.handle(of: version)
            if handle.material != nil { return try await proveRefused(version, handle, issuer, &session) }
        }
        guard let backend = version.backends.first(where: { !$0.pruned }) else {
            return try await close(version, &session)
        }
        try await prune(version, backend, &session)
    }

    private func found<Result>(_ body: () throws(SystemError) -> Result) throws -> Result {
        do throws(SystemError) { return try body() } catch { throw StepError(step: .revoke, error: error) }
    }

    private func disable(
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

    private func revoke(
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
    private func undo(
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
    private func proveRefused(
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

    private func prune(
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

    private func close(_ version: VersionRecord, _ session: inout SecretSession) async throws(JournalError) {
        let desk = AlertDesk(core: core, policy: policy, sinks: workplace.sinkNames(for: policy), now: now)
        try await session.commit { record, outbox in
            guard var version = record.version(version.number) else { return }
            version.stage = .retired
            version.endedAt = desk.now
            version.sealed = nil
            version.retirement = nil
            record.put(version)
            core.dropUnanswered(version.number, in: &record, &outbox)
            outbox.audit.append(
                AuditEvent(at: desk.now, kind: "version.retired", secret: record.name, version: version.number))
            desk.clear([.retireBlocked], in: &record, &outbox)
        }
        core.logger.notice(
            "old version is retired", metadata: ["secret": "\(secret)", "version": "\(version.number)"])
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

    private func audit(
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
