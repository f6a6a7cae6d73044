import Foundation
import KeyturnCore

/// Turns a version of the journal into what issuers and backends are handed.
struct VersionWriting {
    let core: EngineCore
    let workplace: Workplace
    let secret: SecretName

    /// Opens the sealed key of a version.
    func material(of version: VersionRecord) throws(SystemError) -> KeyMaterial {
        guard let sealed = version.sealed else {
            throw SystemError(
                .local, "the journal no longer holds the key of version \(version.number)",
                advice: "restore the state from a backup, or rotate the secret")
        }
        return try open(sealed, of: version.number)
    }

    func open(_ sealed: Data, of version: Int) throws(SystemError) -> KeyMaterial {
        do throws(SealError) {
            guard let material = KeyMaterial(decoding: try core.sealer.open(sealed)) else {
                throw SealError(reason: "it is not a sealed key")
            }
            return material
        } catch {
            throw SystemError(
                .local, "the sealed key of version \(version) can't be opened: \(error.reason)",
                advice: "use the identity with which the state was written")
        }
    }

    /// What was prepared for a key whose answer is not in.
    func preparation(
        of intent: RotationRecord.IssueIntent, for version: Int
    ) throws(SystemError) -> IssuePreparation {
        guard let sealed = intent.sealedChosen else { return IssuePreparation(notes: intent.notes) }
        return IssuePreparation(notes: intent.notes, chosen: try open(sealed, of: version))
    }

    func seal(_ material: KeyMaterial) throws(SystemError) -> Data {
        do throws(SealError) { return try core.sealer.seal(material.encoded()) } catch {
            throw SystemError(
                .local, "a key can't be sealed into the journal: \(error.reason)",
                advice: "check the identity file that keyturn.yaml names")
        }
    }

    /// The handle for checks and retirement. A key that can't be opened is handed over without its text.
    func handle(of version: VersionRecord) -> KeyHandle {
        KeyHandle(
            secret: secret, version: version.number, keyID: version.keyID, material: try? material(of: version),
            parameters: version.issueParameters)
    }

    /// The value in the form in which one backend stores it.
    func rendered(
        _ version: VersionRecord, for backend: VersionRecord.StoredBackend
    ) throws(SystemError) -> SecretValue {
        if let found = version.found?.first(where: { $0.target.isSamePlace(as: backend.target) }) {
            return try text(found)
        }
        let material = try material(of: version)
        let adapter = try workplace.backend(backend.target.backend)
        guard let text = backend.template else { return try adapter.normalized(material.value, at: backend.target) }
        let rendered: SecretValue
        do throws(InvalidTemplate) { rendered = try ValueTemplate(text).render(material) } catch {
            throw SystemError(
                .misconfigured, "the template for backend '\(backend.target.backend)' can't be filled: \(error.reason)",
                advice: "mend the template in the policy")
        }
        return try adapter.normalized(rendered, at: backend.target)
    }

    func reference(_ version: VersionRecord, at backend: VersionRecord.StoredBackend) -> VersionReference {
        VersionReference(
            secret: secret, version: version.number, receipt: backend.receipt,
            value: try? rendered(version, for: backend))
    }

    /// A value that was found in a backend, in the form in which it lies there.
    private func text(_ found: VersionRecord.FoundValue) throws(SystemError) -> SecretValue {
        do throws(SealError) {
            guard let material = KeyMaterial(decoding: try core.sealer.open(found.sealed)) else {
                throw SealError(reason: "it is not a sealed value")
            }
            return material.value
        } catch {
            throw SystemError(
                .local, "a sealed value can't be opened: \(error.reason)",
                advice: "use the identity with which the state was written")
        }
    }

    /// What is to be written to one backend.
    ///
    /// - Parameter replaced: the version that is current until then.
    func write(
        _ version: VersionRecord, to backend: VersionRecord.StoredBackend, replacing replaced: VersionRecord?,
        overwrite: Bool
    ) throws(SystemError) -> VersionWrite {
        // The place is the same when its other parameters, such as a file's mode, were edited in between.
        let before = replaced.flatMap { old in
            old.backends.first { $0.target.isSamePlace(as: backend.target) }.map { reference(old, at: $0) }
        }
        return VersionWrite(
            secret: secret, version: version.number, value: try rendered(version, for: backend),
            receipt: backend.receipt, replaces: before, instance: core.installation.instance,
            generation: core.installation.generation, expiresAt: version.expiresAt, mayOverwrite: overwrite)
    }
}
