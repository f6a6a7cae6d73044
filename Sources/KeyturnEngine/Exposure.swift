import Foundation
package import KeyturnCore

/// Versions of one secret that others may know, as they stood when that was noticed. It keeps their sealed keys, so that
/// they can be looked for after the journal has forgotten them.
package struct Suspect: Sendable {
    package let secret: SecretName
    let versions: [VersionRecord]
    /// Where any version of the secret ever went, as far as the journal knows.
    let places: [VersionRecord.StoredBackend]
}

/// What still holds, or still accepts, one compromised version.
package struct Exposure: Sendable {
    package enum IssuerState: String, Sendable {
        /// It was asked and refuses the key.
        case refused
        /// The key was revoked; the issuer has no way to tell, or could not be asked.
        case revoked
        case notYet = "not-yet"
    }

    package enum Holding: String, Sendable {
        /// Consumers still get it.
        case current
        /// It lies there as an old version.
        case stored
        case no
        case unknown
    }

    package struct Place: Sendable {
        package let target: BackendTarget
        package let required: Bool
        /// Whether the policy still names it.
        package let isInPolicy: Bool
        package let isPruned: Bool
        package let holding: Holding
        /// Why it is not known.
        package let reason: String?
    }

    package let secret: SecretName
    package let version: Int
    package let issuer: String
    package let issuerState: IssuerState
    package let issuerReason: String?
    package let places: [Place]
}

extension Engine {
    /// What has to be found again once the secrets are declared compromised.
    package func suspects(of secrets: [SecretName]) async throws(JournalError) -> [Suspect] {
        var suspects: [Suspect] = []
        for name in secrets {
            guard let record = try await core.journal.record(of: name) else { continue }
            let versions = record.versions.filter { $0.stage == .current || $0.isLeaving }
            var places: [VersionRecord.StoredBackend] = []
            for place in record.versions.reversed().flatMap(\.backends)
            where !places.contains(where: { $0.target.isSamePlace(as: place.target) }) {
                places.append(place)
            }
            suspects.append(Suspect(secret: name, versions: versions, places: places))
        }
        return suspects
    }

    /// Asks every issuer and every place about the suspects. It changes nothing.
    package func exposures(of suspects: [Suspect]) async throws(JournalError) -> [Exposure] {
        let inspection = ExposureInspection(core: core, workplace: workplace)
        var exposures: [Exposure] = []
        for suspect in suspects {
            let record = try await core.journal.record(of: suspect.secret) ?? SecretRecord(name: suspect.secret)
            for version in suspect.versions {
                exposures.append(await inspection.inspect(version, of: suspect, now: record))
            }
        }
        return exposures
    }
}

/// Looks for one compromised version wherever it may be.
private struct ExposureInspection {
    let core: EngineCore
    let workplace: Workplace

    func inspect(_ version: VersionRecord, of suspect: Suspect, now record: SecretRecord) async -> Exposure {
        let writing = VersionWriting(core: core, workplace: workplace, secret: suspect.secret)
        let (state, reason) = await issuerState(of: version, writing, record)
        var places: [Exposure.Place] = []
        for place in self.places(of: version, suspect) {
            places.append(await self.place(place, version, writing, record))
        }
        return Exposure(
            secret: suspect.secret, version: version.number, issuer: version.issuer, issuerState: state,
            issuerReason: reason, places: places)
    }

    /// The places of the version itself first, then those of other versions and of the policy.
    private func places(of version: VersionRecord, _ suspect: Suspect) -> [VersionRecord.StoredBackend] {
        var places = version.backends
        let others = suspect.places.map { known in
            VersionRecord.StoredBackend(target: known.target, template: known.template, required: known.required)
        }
        let policy = workplace.policies[suspect.secret]?.storedBackends(keeping: []) ?? []
        for other in policy + others where !places.contains(where: { $0.target.isSamePlace(as: other.target) }) {
            places.append(other)
        }
        return places
    }

    private func issuerState(
        of version: VersionRecord, _ writing: VersionWriting, _ record: SecretRecord
    ) async -> (Exposure.IssuerState, String?) {
        let known = record.version(version.number)
        let isRevoked = known?.isRevoked ?? false
        let blocked =
            known?.retirement?.lastError?.message ?? record.rotation?.lastError?.message
            ?? record.quarantine.map { "quarantined: \($0.reason)" } ?? "it is not its turn yet"
        let answer: KeyCheck
        do throws(SystemError) {
            answer = try await check(version, writing.handle(of: version), isRevoked: isRevoked)
        } catch {
            return isRevoked ? (.revoked, "the issuer can't be asked: \(error.message)") : (.notYet, blocked)
        }
        switch answer {
        case .refused: return (.refused, nil)
        case .cannotTell: return isRevoked ? (.revoked, nil) : (.notYet, blocked)
        case .works:
            guard isRevoked else { return (.notYet, blocked) }
            let end = workplace.issuers[version.issuer].flatMap { $0.outlives(version, at: core.time.now()) }
            return (
                .notYet,
                end.map { "nobody can end it before its expiry; it is accepted until: \($0)" }
                    ?? "it is revoked, and the issuer still accepts it"
            )
        case .notYet(let reason): return isRevoked ? (.revoked, reason) : (.notYet, blocked)
        }
    }

    /// A key that was just revoked is asked about until it is refused, as long as such a change may take.
    private func check(
        _ version: VersionRecord, _ key: KeyHandle, isRevoked: Bool
    ) async throws(SystemError) -> KeyCheck {
        let issuer = try workplace.issuer(version.issuer)
        guard issuer.traits.checks, key.material != nil else { return .cannotTell }
        guard issuer.traits.revokes else {
            return try await core.gates.call(.issuer(version.issuer)) { () throws(SystemError) in
                try await issuer.check(key)
            }
        }
        let deadline = core.time.now().addingTimeInterval(core.settings.readBackPatience)
        while true {
            let answer = try await core.gates.call(.issuer(version.issuer)) { () throws(SystemError) in
                try await issuer.check(key)
            }
            guard isRevoked, answer == .works, core.time.now() < deadline, !core.stop.isAsked else { return answer }
            try await core.pause(core.settings.pollInterval)
        }
    }

    private func place(
        _ place: VersionRecord.StoredBackend, _ version: VersionRecord, _ writing: VersionWriting,
        _ record: SecretRecord
    ) async -> Exposure.Place {
        let policy = workplace.policies[record.name]
        let known = record.version(version.number)?.backends.first { $0.target.isSamePlace(as: place.target) }
        func found(_ holding: Exposure.Holding, _ reason: String? = nil) -> Exposure.Place {
            Exposure.Place(
                target: place.target, required: place.required,
                isInPolicy: policy?.backends.contains { $0.target.isSamePlace(as: place.target) } ?? false,
                isPruned: known?.pruned ?? place.pruned, holding: holding, reason: reason)
        }
        do throws(SystemError) {
            let backend = try workplace.backend(place.target.backend)
            guard backend.traits.readsBack else { return found(.unknown, "it can't be read back") }
            let value = try writing.rendered(version, for: known ?? place)
            let current = try await read(.current, backend, place.target)
            if current?.value.matches(value) == true { return found(.current) }
            let reference = writing.reference(version, at: known ?? place)
            let stored: StoredValue?
            do throws(SystemError) { stored = try await read(.version(reference), backend, place.target) } catch {
                // It holds one value only, and that is another one.
                if error.code == .unsupported || error.code == .notFound { return found(.no) }
                throw error
            }
            return found(stored?.value.matches(value) == true ? .stored : .no)
        } catch { return found(.unknown, error.message) }
    }

    private func read(
        _ selection: StoredSelection, _ backend: any Backend, _ target: BackendTarget
    ) async throws(SystemError) -> StoredValue? {
        try await core.gates.call(.backend(target.backend)) { () throws(SystemError) in
            try await backend.read(selection, at: target)
        }
    }
}
