import Foundation
package import KeyturnCore
import KeyturnSystem

#if canImport(Glibc)
    import Glibc
#endif

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
        let path = try path(target)
        if case .goOn = try PromoteGuard.judge(try content(path), for: write, at: path) {
            let owner = try owner(target)
            let mode = Self.mode(target)
            try AtomicFile.makeFolder(
                AtomicFile.folder(of: path), mode: Self.folderMode(mode, isGivenAway: owner?.user != nil),
                group: mode & 0o040 != 0 ? owner?.group : nil)
            try AtomicFile.sweep(path)
            try AtomicFile.write(write.value, to: path, mode: mode, owner: owner)
        } else {
            // A try before this one may have failed to make it durable.
            try AtomicFile.syncFolder(AtomicFile.folder(of: path))
        }
        // Also when the value was there already: the answer to the last reload may have been lost.
        try await reload(target)
        return [:]
    }

    package func read(
        _ selection: StoredSelection, at target: BackendTarget
    ) async throws(SystemError) -> StoredValue? {
        guard case .current = selection else {
            throw SystemError(.unsupported, "a file holds only its current value")
        }
        return try content(try path(target)).map { StoredValue(value: $0, version: nil, receipt: [:]) }
    }

    package func unstage(_ version: VersionReference, at target: BackendTarget) async throws(SystemError) {}

    package func prune(_ version: VersionReference, at target: BackendTarget) async throws(SystemError) {}

    package func list(at target: BackendTarget) async throws(SystemError) -> [ListedVersion] {
        throw SystemError(.unsupported, "a file holds only its current value")
    }

    package func probe(_ target: BackendTarget) async throws(SystemError) {
        let path = try path(target)
        _ = try owner(target)
        try AtomicFile.probeFolder(AtomicFile.folder(of: path))
    }

    private func path(_ target: BackendTarget) throws(SystemError) -> String {
        if let reason = Self.pathProblem(target.path) {
            throw SystemError(.misconfigured, "the path of a file is not allowed: \(reason)")
        }
        return "\(directory)/\(target.path)"
    }

    @Sendable private static func pathProblem(_ path: String) -> String? {
        let segments = path.split(separator: "/", omittingEmptySubsequences: false)
        if segments.contains(where: { $0.isEmpty || $0 == "." || $0 == ".." }) {
            return "it must stay below the backend's directory, without empty, '.' and '..' segments"
        }
        return path.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) ? "it holds a control character" : nil
    }

    private func content(_ path: String) throws(SystemError) -> SecretValue? {
        // Without O_NONBLOCK a named pipe would keep us waiting for its writer.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else {
            if errno == ENOENT { return nil }
            throw AtomicFile.failure("read \(path)")
        }
        let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        guard let data = try? handle.read(upToCount: 1 << 20) ?? Data() else {
            throw AtomicFile.failure("read \(path)")
        }
        return SecretValue(data)
    }

    private static func mode(_ target: BackendTarget) -> UInt32 {
        UInt32(target.parameters.string("mode") ?? "0600", radix: 8) ?? 0o600
    }

    /// Who may read a file may also get to it: the group with 0750, others with 0755; another owner, whose folder it is
    /// not, by search alone with 0711.
    private static func folderMode(_ mode: UInt32, isGivenAway: Bool) -> UInt32 {
        0o700 | (mode & 0o040 != 0 ? 0o050 : 0) | (mode & 0o004 != 0 ? 0o055 : 0) | (isGivenAway ? 0o011 : 0)
    }

    private func owner(_ target: BackendTarget) throws(SystemError) -> (user: UInt32?, group: UInt32?)? {
        let user = target.parameters.string("owner")
        let group = target.parameters.string("group")
        guard user != nil || group != nil else { return nil }
        return (
            try user.map { (name) throws(SystemError) in try Self.number(name, "user") { getpwnam($0)?.pointee.pw_uid }
            },
            try group.map { (name) throws(SystemError) in
                try Self.number(name, "group") { getgrnam($0)?.pointee.gr_gid }
            }
        )
    }

    private static func number(
        _ name: String, _ kind: String, _ look: (String) -> UInt32?
    ) throws(SystemError) -> UInt32 {
        guard let number = UInt32(name) ?? look(name) else {
            throw SystemError(.misconfigured, "there is no \(kind) '\(name)' on this machine")
        }
        return number
    }

    private func reload(_ target: BackendTarget) async throws(SystemError) {
        guard let words = target.parameters.strings("reload"), !words.isEmpty else { return }
        let outcome = try await ChildProgram(words, folder: services.folder, environment: services.environment).run()
        guard outcome.status == 0 else {
            throw SystemError(
                .local, "the reload command ended with status \(outcome.status)",
                advice: "the new value is in place; see why the consumer does not reload", disposition: .passing)
        }
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
        target: ParameterSchema([
            ParameterField(
                "mode", .choice(["0600", "0640", "0644", "0400", "0440", "0444"]), default: .string("0600"),
                "Permission bits, octal."),
            ParameterField("owner", .string(), "User name or number that the file is given to."),
            ParameterField("group", .string(), "Group name or number that the file is given to."),
            ParameterField("reload", .command, "Command that makes the consumer read the new value."),
        ]),
        traits: BackendTraits(staging: .onPromote, readsBack: true, lists: false, destroys: false),
        checkPath: pathProblem)
}
