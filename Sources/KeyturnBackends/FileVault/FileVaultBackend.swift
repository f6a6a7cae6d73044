package import Age
import Foundation
package import KeyturnCore
import KeyturnSystem

/// Keeps versions in a ``FileVault``. A pending version is a file that `current` does not lead to.
package struct FileVaultBackend: Backend {
    package let traits: BackendTraits = Self.description.traits

    private let vault: FileVault
    private let recipients: [X25519Recipient]
    private let identityPath: String?

    init(_ parameters: Parameters, _ services: SystemServices) throws(SystemError) {
        vault = FileVault(directory: parameters.string("directory") ?? "")
        identityPath = parameters.string("identity") ?? services.identityPath
        var recipients: [X25519Recipient] = []
        for text in parameters.strings("recipients") ?? [] {
            do throws(AgeError) { recipients.append(try X25519Recipient(parsing: text)) } catch {
                throw SystemError(.misconfigured, "a recipient of the file vault is wrong: \(error)")
            }
        }
        self.recipients = recipients
    }

    package func stage(
        _ write: VersionWrite, at target: BackendTarget
    ) async throws(SystemError) -> StageResult {
        let encrypted = try encrypt(write.value)
        try vault.locked { () throws(SystemError) in
            try vault.sweep(target.path)
            try AtomicFile.makeFolder(try vault.folder(target.path))
            // A version is never overwritten with another value: it may be one that this state has lost.
            if let stored = try content(target.path, write.version, write) {
                if stored.matches(write.value) { return try settle(target) }
                guard write.mayOverwrite else {
                    throw SystemError(
                        .conflict, "the file vault at \(target.path) holds another version \(write.version) already",
                        advice: "see who wrote it; where the state was restored, `keyturn adopt --restored` accepts it")
                }
            }
            try AtomicFile.write(encrypted, to: try vault.file(target.path, write.version))
        }
        return .staged([:])
    }

    package func promote(_ write: VersionWrite, at target: BackendTarget) async throws(SystemError) -> Receipt {
        if case .done = try judge(write, target) {
            try settle(target)
            return [:]
        }
        _ = try await stage(write, at: target)
        try vault.locked { () throws(SystemError) in
            // Another process may have been here while the lock was free.
            if case .done = try judge(write, target) { return try settle(target) }
            // Before the value shows: one without a mark could not be told from another's.
            try vault.mark(
                target.path,
                WriteMark(instance: write.instance, generation: write.generation, version: write.version))
            try AtomicFile.link(
                "\(try vault.folder(target.path))/\(FileVault.currentName)", to: "\(write.version).age")
        }
        return [:]
    }

    /// Makes durable what is there already: a try before this one may have failed at just that.
    private func settle(_ target: BackendTarget) throws(SystemError) {
        try AtomicFile.syncFolder(try vault.folder(target.path))
    }

    private func judge(_ write: VersionWrite, _ target: BackendTarget) throws(SystemError) -> PromoteGuard.Finding {
        let current = try vault.currentVersion(target.path)
        let present = try current.map { (number) throws(SystemError) in try content(target.path, number, write) } ?? nil
        let finding = try PromoteGuard.judge(present, for: write, at: "the file vault at \(target.path)")
        if case .done = finding, current != write.version { return .goOn }
        return finding
    }

    package func read(
        _ selection: StoredSelection, at target: BackendTarget
    ) async throws(SystemError) -> StoredValue? {
        let number: Int?
        switch selection {
        case .current: number = try vault.currentVersion(target.path)
        case .version(let reference): number = reference.version
        }
        guard let number, let value = try decrypted(target.path, number) else { return nil }
        return StoredValue(value: value, version: number, receipt: [:])
    }

    package func mark(
        of secret: SecretName, instance: String, at target: BackendTarget
    ) async throws(SystemError) -> WriteMark? {
        guard let mark = try vault.mark(target.path), mark.version == (try vault.currentVersion(target.path)) else {
            return nil
        }
        return mark
    }

    package func unstage(_ version: VersionReference, at target: BackendTarget) async throws(SystemError) {
        try await prune(version, at: target)
    }

    package func prune(_ version: VersionReference, at target: BackendTarget) async throws(SystemError) {
        try vault.locked { () throws(SystemError) in
            guard try vault.currentVersion(target.path) != version.version,
                try vault.versions(target.path).contains(version.version)
            else { return }
            try AtomicFile.remove(try vault.file(target.path, version.version))
        }
    }

    package func list(at target: BackendTarget) async throws(SystemError) -> [ListedVersion] {
        let current = try vault.currentVersion(target.path)
        return try vault.versions(target.path).map {
            ListedVersion(identifier: "\($0).age", version: $0, isCurrent: $0 == current)
        }
    }

    package func probe(_ target: BackendTarget) async throws(SystemError) {
        _ = try identities()
        try AtomicFile.probeFolder(try vault.folder(target.path))
    }

    private func encrypt(_ value: SecretValue) throws(SystemError) -> SecretValue {
        do throws(AgeError) { return SecretValue(try AgeFile.encrypt(value.exposedBytes(), to: recipients)) } catch {
            throw SystemError(.misconfigured, "the file vault can't encrypt: \(error)")
        }
    }

    private func decrypted(_ path: String, _ version: Int) throws(SystemError) -> SecretValue? {
        guard let file = try vault.encrypted(path, version: version) else { return nil }
        return try Self.decrypt(file, with: try identities(), path)
    }

    /// What lies there under a number. Where it may be replaced, a file that nobody can open is as good as a foreign value.
    private func content(
        _ path: String, _ number: Int, _ write: VersionWrite
    ) throws(SystemError) -> SecretValue? {
        do throws(SystemError) { return try decrypted(path, number) } catch {
            guard write.mayOverwrite, error.code == .badAnswer else { throw error }
            return SecretValue([])
        }
    }

    private func identities() throws(SystemError) -> [X25519Identity] {
        guard let identityPath else {
            throw SystemError(
                .misconfigured, "the file vault has no identity to read with",
                advice: "name one under `identity` in keyturn.yaml")
        }
        let file = try PrivateFile.read(identityPath)
        do throws(AgeError) { return try IdentityFile.parse(file.exposedBytes()) } catch {
            throw SystemError(.misconfigured, "the identity file \(identityPath) can't be used: \(error)")
        }
    }

    /// Opens a vault file.
    package static func decrypt(
        _ file: [UInt8], with identities: [any Identity], _ path: String
    ) throws(SystemError) -> SecretValue {
        do throws(AgeError) { return SecretValue(try AgeFile.decrypt(file, with: identities)) } catch {
            throw SystemError(.badAnswer, "a file of \(path) can't be opened: \(error)", disposition: .permanent)
        }
    }
}

extension FileVaultBackend {
    static let type = BackendType(description: description) { (_, parameters, services) throws(SystemError) in
        try FileVaultBackend(parameters, services)
    }

    static let description = BackendDescription(
        type: "file-vault", summary: "Encrypted files on this machine, in the age format.",
        configuration: ParameterSchema([
            ParameterField("directory", .path, required: true, "The vault's folder."),
            ParameterField(
                "recipients", .list(of: .string(), minimumCount: 1), required: true, "Who can open it: age1..."),
            ParameterField("identity", .path, "Identity file to read with; that of Keyturn when absent."),
        ]) { parameters, _ in recipientProblems(parameters.strings("recipients") ?? []) }, target: ParameterSchema(),
        traits: BackendTraits(staging: .unseen, readsBack: true, lists: true, destroys: true)
    ) { path in
        do throws(InvalidSecretName) {
            _ = try SecretName(path)
            return nil
        } catch { return error.reason }
    }

    /// The recipient itself is not repeated: an identity may stand there by mistake.
    private static func recipientProblems(_ recipients: [String]) -> [ParameterProblem] {
        recipients.enumerated().compactMap { index, text in
            do throws(AgeError) {
                _ = try X25519Recipient(parsing: text)
                return nil
            } catch { return ParameterProblem(path: ["recipients", String(index)], message: error.description) }
        }
    }
}
