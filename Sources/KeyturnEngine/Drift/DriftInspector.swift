import Foundation
import KeyturnCore

/// Holds what every backend has against what the journal says was promoted there. It changes nothing.
///
/// Values are compared in constant time and never shown.
struct DriftInspector {
    let core: EngineCore
    let workplace: Workplace

    /// How often a secret is looked at anew because its record changed meanwhile.
    private static let patience = 3

    /// - Parameter names: all secrets when absent.
    func inspect(
        _ names: [SecretName]?, _ progress: @Sendable (_ done: Int, _ total: Int) -> Void
    ) async throws(JournalError) -> DriftReport {
        let wanted = names.map(Set.init)
        let records = try await core.journal.records().filter {
            $0.current != nil && wanted?.contains($0.name) ?? true
        }
        let total = records.count
        progress(0, total)
        let looks = await withTaskGroup(of: Result<Look, JournalError>.self) { group in
            var waiting = records[...]
            var looks: [Result<Look, JournalError>] = []
            for _ in 0..<min(max(1, core.settings.concurrency), total) {
                if let next = waiting.popFirst() { group.addTask { await look(at: next) } }
            }
            while let done = await group.next() {
                looks.append(done)
                progress(looks.count, total)
                if let next = waiting.popFirst() { group.addTask { await look(at: next) } }
            }
            return looks
        }
        var report = DriftReport()
        report.secrets = total
        for look in looks {
            let look = try look.get()
            report.places += look.places
            report.answered += look.answered
            report.findings += look.findings
        }
        report.findings.sort {
            ($0.secret, $0.target.backend, $0.kind.rawValue) < ($1.secret, $1.target.backend, $1.kind.rawValue)
        }
        return report
    }

    /// What is to be found for one secret, as its record says now.
    func examine(_ record: SecretRecord) async -> [DriftFinding] {
        guard let current = record.current else { return [] }
        var findings: [DriftFinding] = []
        for place in places(of: current, record) { findings += await examine(place, current, record).findings }
        return findings
    }

    /// What came of looking at one secret, or at one place of it.
    private struct Look: Sendable {
        var places = 0
        var answered = 0
        var findings: [DriftFinding] = []
    }

    /// A rotation may go on while it is looked at: what looks like drift is believed only of a record that stood still.
    private func look(at first: SecretRecord) async -> Result<Look, JournalError> {
        var record = first
        var look = Look()
        do throws(JournalError) {
            for _ in 0..<Self.patience {
                look = Look()
                guard let current = record.current else { return .success(look) }
                for place in places(of: current, record) {
                    let one = await examine(place, current, record)
                    look.places += one.places
                    look.answered += one.answered
                    look.findings += one.findings
                }
                guard look.findings.contains(where: { $0.weight == .drift }) else { return .success(look) }
                guard let now = try await core.journal.record(of: record.name), now != record else {
                    return .success(look)
                }
                record = now
            }
        } catch { return .failure(error) }
        return .success(look)
    }

    /// Places that a policy no longer names are not ours to look after.
    private func places(of current: VersionRecord, _ record: SecretRecord) -> [VersionRecord.StoredBackend] {
        guard let policy = workplace.policies[record.name] else { return current.backends }
        return current.backends.filter { place in
            policy.backends.contains { $0.target.isSamePlace(as: place.target) }
        }
    }

    private func examine(
        _ place: VersionRecord.StoredBackend, _ current: VersionRecord, _ record: SecretRecord
    ) async -> Look {
        let judge = DriftJudge(core: core, workplace: workplace, record: record, current: current, place: place)
        let name = place.target.backend
        var look = Look(places: 1)
        do throws(SystemError) {
            let backend = try workplace.backend(name)
            guard backend.traits.readsBack else {
                look.places = 0
                look.findings = [judge.notReadable()]
                return look
            }
            let stored = try await core.gates.call(.backend(name)) { () throws(SystemError) in
                try await backend.read(.current, at: place.target)
            }
            var listed: [ListedVersion] = []
            if backend.traits.lists {
                listed = try await core.gates.call(.backend(name)) { () throws(SystemError) in
                    try await backend.list(at: place.target)
                }
            }
            look.findings = try judge.findings(stored, listed, destroys: backend.traits.destroys)
            look.answered = 1
        } catch { look.findings = [judge.notAsked(error)] }
        return look
    }
}
