import Foundation
package import KeyturnCore
import Logging

/// What accepting a restored state came to.
package struct RestoreReport: Sendable {
    /// Secrets whose backends are ahead; each is rotated.
    package internal(set) var ahead: [SecretName] = []
    /// Keys that their issuers list and this state does not know.
    package internal(set) var unknownKeys = 0
    /// Secrets that could not be looked at, and why.
    package internal(set) var unseen: [(secret: SecretName, error: SystemError)] = []
    package internal(set) var generation = 0
}

extension Engine {
    /// Accepts a state that is behind its backends. What they hold becomes the current version, and is replaced by a fresh
    /// key; keys that the state does not know are reported, and none of them is revoked.
    ///
    /// It can be repeated after a crash. The process that drives rotations must not be another one meanwhile.
    package func acceptRestored(actor: String) async throws(JournalError) -> RestoreReport {
        var report = RestoreReport()
        for (name, policy) in workplace.policies.sorted(by: { $0.key < $1.key }) {
            do throws(SystemError) {
                let shown = try await shown(of: name, policy)
                // Of keys without a lineage only those that appeared in the lost history can be ours.
                let unknown = try await unknownKeys(of: name, policy).filter {
                    $0.lineage != nil || shown.newest != nil
                }
                guard shown.newest != nil || shown.showsPending || !unknown.isEmpty else { continue }
                if shown.newest != nil || shown.showsPending { report.ahead.append(name) }
                report.unknownKeys += unknown.count
                try await take(shown, unknown, of: name, policy, actor: actor)
            } catch { report.unseen.append((name, error)) }
        }
        guard report.unseen.isEmpty else { return report }
        let now = core.time.now()
        try await core.journal.beginGeneration(
            at: now,
            audit: AuditEvent(
                at: now, kind: "state.accepted", secret: nil, actor: actor,
                detail: ["ahead": String(report.ahead.count), "unknownKeys": String(report.unknownKeys)]))
        report.generation = try await core.journal.installation().generation
        return report
    }

    /// What the backends hold of one secret.
    private struct Shown {
        var values: [VersionRecord.FoundValue] = []
        var targets: [BackendTarget] = []
        /// The newest version of a lost history; `nil` where no backend is ahead.
        var newest: Int?
        /// Whether one shows the pending version, which the journal has never made current.
        var showsPending = false
    }

    private func shown(of secret: SecretName, _ policy: Policy) async throws(SystemError) -> Shown {
        var all = Shown()
        guard let record = try await known(secret), record.current != nil else { return all }
        let watch = RestoreWatch(core: core, workplace: workplace, secret: secret)
        let writing = VersionWriting(core: core, workplace: workplace, secret: secret)
        let installation = core.installation
        for entry in policy.backends {
            let adapter = try workplace.backend(entry.name)
            let place = entry.target
            guard adapter.traits.readsBack else { continue }
            let (stored, mark) = try await core.gates.call(.backend(entry.name)) { () throws(SystemError) in
                (
                    try await adapter.read(.current, at: place),
                    try await adapter.mark(of: secret, instance: installation.instance, at: place)
                )
            }
            guard let stored else { continue }
            all.targets.append(place)
            all.values.append(
                VersionRecord.FoundValue(target: place, sealed: try writing.seal(KeyMaterial(value: stored.value))))
            if let pending = record.pending, record.rotation?.machine.isPastFirstPromote == false,
                try watch.known(stored.value, at: place, as: [pending])
            {
                all.showsPending = true
            }
            if let mark, watch.finding(mark, at: place, record) != nil,
                try !watch.known(stored.value, at: place, as: record.versions)
            {
                all.newest = max(all.newest ?? 0, mark.version)
            }
        }
        return all
    }

    /// Keys that the issuer lists and the journal does not know. Of those without a lineage none can be told from others'.
    private func unknownKeys(of secret: SecretName, _ policy: Policy) async throws(SystemError) -> [ListedKey] {
        guard let issuer = try workplace.issuer(policy.issuer) as? any ListsKeys, let record = try await known(secret)
        else { return [] }
        let listed = try await core.gates.call(.issuer(policy.issuer)) { () throws(SystemError) in
            try await issuer.keys(for: policy.issue)
        }
        let ours = Set(record.versions.compactMap(\.keyID))
        return listed.filter { !ours.contains($0.keyID) && ($0.lineage.map { $0.secret == secret } ?? true) }
    }

    private func known(_ secret: SecretName) async throws(SystemError) -> SecretRecord? {
        do throws(JournalError) { return try await core.journal.record(of: secret) } catch {
            throw SystemError(.local, error.description, disposition: .passing)
        }
    }

    private func take(
        _ shown: Shown, _ unknown: [ListedKey], of secret: SecretName, _ policy: Policy, actor: String
    ) async throws(SystemError) {
        let serving = shown.newest.flatMap { newest in Self.serving(unknown, version: newest) }
        do throws(JournalError) {
            try await core.change(secret) { record, outbox, now in
                for key in unknown where key.keyID != serving?.keyID {
                    outbox.orphans.append(
                        OrphanRecord(
                            id: "found:\(secret):\(key.keyID)", secret: secret, version: key.lineage?.version ?? 0,
                            issuer: policy.issuer, keyID: key.keyID, issueParameters: policy.issue, state: .undecided,
                            since: now, until: nil,
                            detail: "key \(key.keyID) is not known to the restored state; a consumer may use it"))
                }
                guard shown.newest != nil || shown.showsPending else { return }
                record.quarantine = nil
                if let newest = shown.newest {
                    Self.setAside(&record, &outbox, policy, now)
                    Self.adopt(shown, as: newest, keyID: serving?.keyID, in: &record, policy, now)
                } else {
                    Self.bringForward(&record, policy, now)
                }
                outbox.audit.append(
                    AuditEvent(
                        at: now, kind: "secret.accepted", secret: secret, version: record.current?.number, actor: actor,
                        detail: serving.map { ["keyId": $0.keyID] } ?? [:]))
            }
            guard shown.newest != nil else { return }
            try await request(secret, compromised: false, actor: actor)
        } catch { throw SystemError(.local, error.description, disposition: .passing) }
    }

    /// The key of the version that the backends serve, when it can be told.
    private static func serving(_ unknown: [ListedKey], version: Int) -> ListedKey? {
        if let named = unknown.first(where: { $0.lineage?.version == version }) { return named }
        return unknown.count == 1 && unknown.first?.lineage == nil ? unknown.first : nil
    }

    /// What the backends hold becomes the current version, and the former one gets its grace.
    private static func adopt(
        _ shown: Shown, as number: Int, keyID: String?, in record: inout SecretRecord, _ policy: Policy, _ now: Date
    ) {
        if var old = record.current {
            old.leave(at: now, grace: policy.grace.timeInterval)
            record.put(old)
        }
        var version = VersionRecord(
            number: number, stage: .current, keyID: keyID, issuedAt: now, expiresAt: nil, sealed: nil,
            issuer: policy.issuer, issueParameters: policy.issue,
            backends: policy.backends.filter { entry in shown.targets.contains { $0.isSamePlace(as: entry.target) } }
                .map(\.stored), adopted: true)
        version.promotedAt = now
        version.found = shown.values
        record.put(version)
    }

    /// A rotation of the old history is not gone on with: what it made may be dead, or in use.
    private static func setAside(
        _ record: inout SecretRecord, _ outbox: inout Outbox, _ policy: Policy, _ now: Date
    ) {
        guard let rotation = record.rotation else { return }
        if var version = record.version(rotation.version), version.stage == .pending {
            version.leave(at: now, grace: policy.grace.timeInterval)
            record.put(version)
        } else if let intent = rotation.issueIntent {
            outbox.orphans.append(
                OrphanRecord(
                    of: intent.request(for: record.name, version: rotation.version), issuer: intent.issuer, .undecided,
                    since: now, until: nil, detail: "it was asked for when the restored state was saved"))
        }
        record.rotation = nil
    }

    /// A pending version that consumers have already is made current everywhere.
    private static func bringForward(_ record: inout SecretRecord, _ policy: Policy, _ now: Date) {
        guard let rotation = record.rotation else { return }
        record.rotation = RotationRecord(
            version: rotation.version,
            machine: RotationMachine(
                distributingTo: policy.backends.map {
                    RotationMachine.BackendProgress(name: $0.name, required: $0.required, progress: .deferred)
                }), startedAt: now, reason: rotation.reason, compromised: rotation.compromised,
            issueDigest: policy.origin.issueDigest)
    }
}
