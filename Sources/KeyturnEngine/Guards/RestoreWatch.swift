import Foundation
import KeyturnCore
import Logging

/// Holds what the backends show against the journal, before anything is done that a journal put back from a backup would
/// do wrong.
struct RestoreWatch {
    let core: EngineCore
    let workplace: Workplace
    let secret: SecretName

    private var writing: VersionWriting { VersionWriting(core: core, workplace: workplace, secret: secret) }

    /// Makes sure that each of the places shows a value that the journal knows, or none.
    ///
    /// - Parameters:
    ///   - replaceable: whether a place may hold a value of others.
    ///   - unpublished: a version that no place may show.
    /// - Throws: `conflict`; what reading throws.
    func confirm(
        _ places: [BackendTarget], of record: SecretRecord, replaceable: (BackendTarget) -> Bool = { _ in false },
        unpublished: VersionRecord? = nil
    ) async throws(SystemError) {
        for place in places {
            guard let adapter = workplace.backends[place.backend], adapter.traits.readsBack else { continue }
            guard let shown = try await settled(place, adapter, record, unpublished) else { continue }
            if let unpublished, try known(shown.value, at: place, as: [unpublished]) {
                try await freeze(
                    "backend '\(place.backend)' shows version \(unpublished.number) of \(secret), which "
                        + "this state has never made current")
            }
            if let finding = try await finding(at: place, adapter, record) { try await freeze(finding) }
            guard !replaceable(place) else { continue }
            throw SystemError(
                .conflict, "backend '\(place.backend)' at \(place.path) holds a value that Keyturn did not put there",
                advice: "see who wrote it; `overwrite: true` at the backend in the policy lets Keyturn replace it")
        }
    }

    /// Looks at the mark of a value that is not the expected one.
    ///
    /// - Returns: whether the backend is ahead of the journal; then nothing is retired any more.
    func isAhead(_ place: BackendTarget, of record: SecretRecord) async throws(SystemError) -> Bool {
        guard let adapter = workplace.backends[place.backend],
            let finding = try await finding(at: place, adapter, record)
        else { return false }
        try await note(finding)
        return true
    }

    /// A value that the journal does not know, once it has had the time to become one that it knows.
    private func settled(
        _ place: BackendTarget, _ adapter: any Backend, _ record: SecretRecord, _ unpublished: VersionRecord?
    ) async throws(SystemError) -> StoredValue? {
        let versions = record.versions.filter { $0.number != unpublished?.number }
        let deadline = core.time.now().addingTimeInterval(core.settings.readBackPatience)
        while true {
            let shown = try await core.gates.call(.backend(place.backend)) { () throws(SystemError) in
                try await adapter.read(.current, at: place)
            }
            guard let shown else { return nil }
            if try known(shown.value, at: place, as: versions) { return nil }
            guard core.time.now() < deadline, !core.stop.isAsked else { return shown }
            try await core.pause(core.settings.pollInterval)
        }
    }

    /// Whether it is the value of one of the versions there.
    func known(
        _ value: SecretValue, at place: BackendTarget, as versions: [VersionRecord]
    ) throws(SystemError) -> Bool {
        for version in versions where version.sealed != nil || version.found != nil {
            for backend in version.backends where backend.target.isSamePlace(as: place) {
                if try writing.rendered(version, for: backend).matches(value) { return true }
            }
        }
        return false
    }

    private func finding(
        at place: BackendTarget, _ adapter: any Backend, _ record: SecretRecord
    ) async throws(SystemError) -> String? {
        let instance = core.installation.instance
        let mark = try await core.gates.call(.backend(place.backend)) { () throws(SystemError) in
            try await adapter.mark(of: secret, instance: instance, at: place)
        }
        return finding(mark, at: place, record)
    }

    func finding(_ mark: WriteMark?, at place: BackendTarget, _ record: SecretRecord) -> String? {
        RestoreGuard.finding(
            mark, at: place.backend, of: secret, newest: record.versions.map(\.number).max() ?? 0,
            installation: core.installation)
    }

    private func freeze(_ finding: String) async throws(SystemError) -> Never {
        try await note(finding)
        throw SystemError(
            .conflict, "\(finding): the state was restored from a backup or copied",
            advice: "stop every other process on a copy of this state; then `keyturn adopt --restored` accepts it")
    }

    /// Stops all retiring, and says so once.
    private func note(_ finding: String) async throws(SystemError) {
        let now = core.time.now()
        let secret = secret
        core.logger.error("a backend is ahead of the state", metadata: ["finding": "\(finding)"])
        do throws(JournalError) {
            guard try await core.journal.installationState().restored == nil else { return }
            let event = AlertEvent(
                id: "msg_\(core.random.nonce())", kind: .stateRestored, severity: .critical, secret: nil, owner: nil,
                version: nil, step: nil, reason: AlertEvent.Kind.stateRestored.rawValue,
                summary: "\(finding): the state was restored from a backup or copied; nothing is retired any more",
                advice: "stop every other process on a copy of this state; then `keyturn adopt --restored` accepts it",
                occurredAt: now)
            try await core.journal.changeInstallation(
                audit: [AuditEvent(at: now, kind: "state.restored", secret: secret, detail: ["finding": finding])],
                alerts: workplace.sinks.keys.sorted().map { QueuedAlert(event: event, sink: $0, nextAttempt: now) }
            ) { state in
                guard state.restored == nil else { return }
                state.restored = InstallationState.Restored(since: now, secret: secret, sentence: finding)
            }
        } catch { throw SystemError(.local, error.description, disposition: .passing) }
    }
}
