import Foundation
import KeyturnCore

/// Gathers what the gates ask for.
extension RetirementDriver {
    /// The first gate that is closed. Outside systems are asked only once the others are open.
    func blockingGate(_ version: VersionRecord, _ record: SecretRecord) async throws -> GateResult? {
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
        // Those that were asked have said what time it is. What goes by the time is judged once more by the very reading
        // that was compared: the clock may have been set right since the grace seemed to be over.
        let mark = try await core.clock.look(telling: workplace.sinks.keys.sorted())
        facts.clock = RetirementFacts.Clock(mark)
        facts.installation.clock = mark
        facts.now = mark.seen.wall
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
}
