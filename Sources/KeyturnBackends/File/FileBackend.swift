package import KeyturnCore
import KeyturnSystem

/// A plain file for a consumer on the same machine, replaced in one stroke, with an optional command to reload it.
///
/// The value lies open on disk: mode and owner decide who reads it.
package struct FileBackend: Backend {
    package let traits: BackendTraits = Self.description.traits

    private let directory: String
    private let services: SystemServices

    init(_ parameters: Parameters, _ services: SystemServices) {
        directory = parameters.string("directory") ?? ""
        self.services = services
    }

    package func stage(
        _ write: VersionWrite, at target: BackendTarget
    ) async throws(SystemError) -> StageResult {
        .deferred("a file holds one value; promoting replaces it")
    }

    package func promote(_ write: VersionWrite, at target: BackendTarget) async throws(SystemError) -> Receipt {
        let file = try file(target)
        if case .goOn = try PromoteGuard.judge(try file.content()?.value, for: write, at: file.path) {
            try file.replace(with: write.value, mode: file.mode ?? 0o600, owner: try file.owner())
        } else {
            // A try before this one may have failed to make it durable.
            try AtomicFile.syncFolder(file.folder)
        }
        // Also when the value was there already: the answer to the last reload may have been lost.
        try await file.reload(services)
        return [:]
    }

    package func read(
        _ selection: StoredSelection, at target: BackendTarget
    ) async throws(SystemError) -> StoredValue? {
        guard case .current = selection else {
            throw SystemError(.unsupported, "a file holds only its current value")
        }
        return try file(target).content().map { StoredValue(value: $0.value, version: nil, receipt: [:]) }
    }

    package func unstage(_ version: VersionReference, at target: BackendTarget) async throws(SystemError) {}

    package func prune(_ version: VersionReference, at target: BackendTarget) async throws(SystemError) {}

    package func list(at target: BackendTarget) async throws(SystemError) -> [ListedVersion] {
        throw SystemError(.unsupported, "a file holds only its current value")
    }

    package func probe(_ target: BackendTarget) async throws(SystemError) {
        let file = try file(target)
        _ = try file.owner()
        try AtomicFile.probeFolder(file.folder)
    }

    private func file(_ target: BackendTarget) throws(SystemError) -> ConsumerFile {
        try ConsumerFile(target.path, in: directory, target.parameters)
    }
}

extension FileBackend {
    static let type = BackendType(description: description) { _, parameters, services in
        FileBackend(parameters, services)
    }

    static let description = BackendDescription(
        type: "file", summary: "A plain file for a consumer on this machine.",
        configuration: ParameterSchema([
            ParameterField("directory", .path, required: true, "The folder below which the files lie.")
        ]),
        target: ParameterSchema(
            [ConsumerFile.modeField(default: .string("0600"), "Permission bits, octal.")] + ConsumerFile.otherFields),
        traits: BackendTraits(staging: .onPromote, readsBack: true, lists: false, destroys: false),
        checkPath: ConsumerFile.problem)
}
