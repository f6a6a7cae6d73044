import Foundation
import KeyturnCore
import KeyturnSystem

#if canImport(Glibc)
    import Glibc
#endif

/// A file that consumers on this machine read: who may, how it is replaced, and how they are told.
struct ConsumerFile {
    let path: String
    private let parameters: Parameters

    /// - Parameters:
    ///   - name: the path below the folder.
    ///   - parameters: those of ``access`` and ``reload``.
    init(_ name: String, in directory: String, _ parameters: Parameters) throws(SystemError) {
        if let reason = Self.problem(name) {
            throw SystemError(.misconfigured, "the path of a file is not allowed: \(reason)")
        }
        path = "\(directory)/\(name)"
        self.parameters = parameters
    }

    @Sendable static func problem(_ path: String) -> String? {
        let segments = path.split(separator: "/", omittingEmptySubsequences: false)
        if segments.contains(where: { $0.isEmpty || $0 == "." || $0 == ".." }) {
            return "it must stay below the backend's directory, without empty, '.' and '..' segments"
        }
        return path.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) ? "it holds a control character" : nil
    }

    var folder: String { AtomicFile.folder(of: path) }

    // MARK: Reading

    struct Content {
        let value: SecretValue
        let mode: UInt32
        let owner: UInt32
        let group: UInt32
        /// Changes whenever somebody writes: file, size, time.
        let state: [Int]
    }

    /// The largest file that is read, in bytes.
    private static let limit = 1 << 20

    /// - Returns: `nil` when there is none.
    /// - Throws: `local` for a link, something that is no file, and what is too large.
    func content() throws(SystemError) -> Content? {
        // Without O_NONBLOCK a named pipe would keep us waiting for its writer.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else {
            switch errno {
            case ENOENT: return nil
            case ELOOP:
                throw SystemError(
                    .local, "\(path) is a symbolic link, which is not followed", advice: "name the file itself")
            default: throw AtomicFile.failure("read \(path)")
            }
        }
        let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        var about = stat()
        guard fstat(descriptor, &about) == 0, about.st_mode & S_IFMT == S_IFREG else {
            throw SystemError(.local, "\(path) is not a file", advice: "see what lies there")
        }
        guard let data = try? handle.read(upToCount: Self.limit + 1) ?? Data() else {
            throw AtomicFile.failure("read \(path)")
        }
        guard data.count <= Self.limit else {
            throw SystemError(.local, "\(path) is larger than \(Self.limit) bytes", advice: "see what lies there")
        }
        return Content(
            value: SecretValue(data), mode: about.st_mode & 0o7777, owner: about.st_uid, group: about.st_gid,
            state: [Int(about.st_ino), Int(about.st_size), about.st_mtim.tv_sec, about.st_mtim.tv_nsec])
    }

    // MARK: Writing

    /// Replaces the file in one stroke, and makes its folder when it is missing.
    ///
    /// - Parameter confirm: is asked last, before the new file takes the place of the old one.
    func replace(
        with value: SecretValue, mode: UInt32, owner: (user: UInt32?, group: UInt32?)?,
        confirm: () throws(SystemError) -> Void = {}
    ) throws(SystemError) {
        try AtomicFile.makeFolder(
            folder, mode: Self.folderMode(mode, isGivenAway: owner?.user != nil),
            group: mode & 0o040 != 0 ? owner?.group : nil)
        try AtomicFile.sweep(path)
        try AtomicFile.write(value, to: path, mode: mode, owner: owner, confirm: confirm)
    }

    /// As the policy says; `nil` where it says nothing.
    var mode: UInt32? { parameters.string("mode").flatMap { UInt32($0, radix: 8) } }

    /// As the policy says; `nil` where it says nothing.
    func owner() throws(SystemError) -> (user: UInt32?, group: UInt32?)? {
        let user = parameters.string("owner")
        let group = parameters.string("group")
        guard user != nil || group != nil else { return nil }
        return (
            try user.map { (name) throws(SystemError) in try Self.number(name, "user") { getpwnam($0)?.pointee.pw_uid }
            },
            try group.map { (name) throws(SystemError) in
                try Self.number(name, "group") { getgrnam($0)?.pointee.gr_gid }
            }
        )
    }

    /// Who may read a file may also get to it: the group with 0750, others with 0755; another owner, whose folder it is
    /// not, by search alone with 0711.
    private static func folderMode(_ mode: UInt32, isGivenAway: Bool) -> UInt32 {
        0o700 | (mode & 0o040 != 0 ? 0o050 : 0) | (mode & 0o004 != 0 ? 0o055 : 0) | (isGivenAway ? 0o011 : 0)
    }

    private static func number(
        _ name: String, _ kind: String, _ look: (String) -> UInt32?
    ) throws(SystemError) -> UInt32 {
        guard let number = UInt32(name) ?? look(name) else {
            throw SystemError(.misconfigured, "there is no \(kind) '\(name)' on this machine")
        }
        return number
    }

    // MARK: Telling the consumer

    func reload(_ services: SystemServices) async throws(SystemError) {
        guard let words = parameters.strings("reload"), !words.isEmpty else { return }
        let outcome = try await ChildProgram(words, folder: services.folder, environment: services.environment).run()
        guard outcome.status == 0 else {
            throw SystemError(
                .local, "the reload command ended with status \(outcome.status)",
                advice: "the new value is in place; see why the consumer does not reload", disposition: .passing)
        }
    }

    // MARK: Parameters

    static func modeField(default fallback: ParameterValue?, _ summary: String) -> ParameterField {
        ParameterField(
            "mode", .choice(["0600", "0640", "0644", "0400", "0440", "0444"]), default: fallback, summary)
    }

    static let otherFields = [
        ParameterField("owner", .string(), "User name or number that the file is given to."),
        ParameterField("group", .string(), "Group name or number that the file is given to."),
        ParameterField("reload", .command, "Command that makes the consumer read the new value."),
    ]
}
