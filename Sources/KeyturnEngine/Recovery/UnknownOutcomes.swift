import Foundation
import KeyturnCore
import Logging

/// What a process that died left without an answer: looked at once, before the secret is worked on again.
///
/// It changes nothing outside. What became of a key is asked by the step `issue` itself; every other step is harmless to
/// repeat, so that its repetition is the resolution, and what is found here explains it.
struct UnknownOutcomes {
    let core: EngineCore
    let workplace: Workplace
    let secret: SecretName

    private var writing: VersionWriting { VersionWriting(core: core, workplace: workplace, secret: secret) }

    func examine(_ session: inout SecretSession) async throws(JournalError) {
        let record = session.record
        guard record.quarantine == nil, record.pausedSince == nil else { return }
        let fresh = record.unanswered.filter { $0.found == nil }
        guard !fresh.isEmpty else { return }
        let found = await withTaskGroup(of: (UnansweredStep, String).self) { group in
            for step in fresh { group.addTask { (step, await find(step, record)) } }
            return await group.reduce(into: []) { $0.append($1) }
        }
        try await session.commit { record, _ in
            for index in record.unanswered.indices {
                guard let sentence = found.first(where: { $0.0 == record.unanswered[index] })?.1 else { continue }
                record.unanswered[index].found = sentence
            }
        }
    }

    private func find(_ step: UnansweredStep, _ record: SecretRecord) async -> String {
        let words = step.step.split(separator: ":", maxSplits: 1)
        switch words.first {
        case "issue": return Self.lostAnswer
        case "verify": return "asking whether a key works changes nothing"
        case "stage": return "no consumer can have seen it"
        case "promote":
            guard words.count == 2, let version = record.version(step.version) else { return Self.harmless }
            return await promoted(version, String(words[1]), record)
        default: return Self.harmless
        }
    }

    static let lostAnswer = "the answer to its creation was lost"
    private static let harmless = "repeating it is harmless"

    /// What consumers of a backend get now, in words.
    private func promoted(_ version: VersionRecord, _ name: String, _ record: SecretRecord) async -> String {
        guard let place = version.backends.first(where: { $0.target.backend == name }) else { return Self.harmless }
        do throws(SystemError) {
            let backend = try workplace.backend(name)
            guard backend.traits.readsBack else { return "the backend can't be read back" }
            let stored = try await core.gates.call(.backend(name)) { () throws(SystemError) in
                try await backend.read(.current, at: place.target)
            }
            guard let stored else { return "the backend holds no value" }
            if stored.value.matches(try writing.rendered(version, for: place)) {
                return "the backend has the new value already"
            }
            let before = record.current.flatMap { old in
                old.backends.first { $0.target.isSamePlace(as: place.target) }.map { (old, $0) }
            }
            if let (old, place) = before, old.number != version.number,
                stored.value.matches(try writing.rendered(old, for: place))
            {
                return "the backend has the value before it still"
            }
            return "the backend has another value"
        } catch { return "the backend could not be asked: \(error.message)" }
    }
}

extension EngineCore {
    /// Records that the answer to a step is in. One that was unknown until then is resolved by it.
    func answered(
        _ step: String, version: Int, as outcome: ResolvedStep.Outcome = .repeated,
        action: String = "the step was taken again", in record: inout SecretRecord, _ outbox: inout Outbox
    ) {
        guard let found = record.answer(step, version: version)?.found else { return }
        resolve(step, version: version, as: outcome, found: found, action: action, in: &record, &outbox)
    }

    /// Tells how an unknown outcome ended: in the audit trail, in one line of the log, and to `status`.
    func resolve(
        _ step: String, version: Int, as outcome: ResolvedStep.Outcome, found: String, action: String,
        detail: [String: String] = [:], in record: inout SecretRecord, _ outbox: inout Outbox
    ) {
        _ = record.answer(step, version: version)
        let now = time.now()
        record.resolved = ResolvedStep(
            at: now, step: step, version: version, outcome: outcome, found: found, action: action)
        let facts = ["outcome": outcome.rawValue, "found": found, "action": action]
        outbox.audit.append(
            AuditEvent(
                at: now, kind: "step.resolved", secret: record.name, version: version, step: step,
                detail: detail.merging(facts) { first, _ in first }))
        logger.notice(
            "unknown outcome resolved",
            metadata: [
                "secret": "\(record.name)", "step": "\(step)", "version": "\(version)",
                "outcome": "\(outcome.rawValue)", "found": "\(found)", "action": "\(action)",
            ])
    }

    /// A step of a version failed, or its turn is over: what this process has waited for is answered. What was unknown
    /// before stays so until its repetition succeeds, and a key whose creation may have taken effect becomes so.
    func failed(_ version: Int, in record: inout SecretRecord) {
        let issue = RotationStep.issue.text
        let mayExist = record.rotation?.version == version && record.rotation?.issueIntent != nil
        record.unanswered.removeAll { $0.version == version && $0.found == nil && !($0.step == issue && mayExist) }
        for index in record.unanswered.indices
        where record.unanswered[index].step == issue && record.unanswered[index].found == nil {
            record.unanswered[index].found = UnknownOutcomes.lostAnswer
        }
    }

    /// Nothing of a version is waited for any more.
    func dropUnanswered(_ version: Int, in record: inout SecretRecord, _ outbox: inout Outbox) {
        for step in record.unanswered where step.version == version {
            answered(
                step.step, version: version, as: .dropped, action: "the step is not wanted any more", in: &record,
                &outbox)
        }
    }
}
