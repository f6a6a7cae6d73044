package import KeyturnCore
import KeyturnSystem

#if canImport(Glibc)
    import Glibc
#endif

/// One variable of a `.env` file on the same machine. Its other lines stay as they are, and the file is replaced in one
/// stroke. The path is `FILE#NAME`, so that each variable of a file is a place of its own.
///
/// The value lies open on disk: mode and owner decide who reads it.
package struct DotenvBackend: Backend {
    package let traits: BackendTraits = Self.description.traits

    private let directory: String
    private let services: SystemServices

    init(_ parameters: Parameters, _ services: SystemServices) {
        directory = parameters.string("directory") ?? ""
        self.services = services
    }

    private struct Place {
        let file: ConsumerFile
        let name: String

        var text: String { "\(name) in \(file.path)" }
    }

    package func stage(
        _ write: VersionWrite, at target: BackendTarget
    ) async throws(SystemError) -> StageResult {
        // What can't be written is found before anything is promoted anywhere.
        _ = try quoted(write.value, try place(target))
        return .deferred("a variable holds one value; promoting replaces it")
    }

    package func promote(_ write: VersionWrite, at target: BackendTarget) async throws(SystemError) -> Receipt {
        let place = try place(target)
        let quoted = try quoted(write.value, place)
        try AtomicFile.makeFolder(place.file.folder)
        // Other variables of the file may be written at the same moment.
        try AtomicFile.locked(place.file.folder) { () throws(SystemError) in
            let content = try place.file.content()
            let parsed = try parse(content, place)
            let present = try value(parsed, place)
            guard case .goOn = try PromoteGuard.judge(present, for: write, at: place.text) else {
                // A try before this one may have failed to make it durable.
                return try AtomicFile.syncFolder(place.file.folder)
            }
            try replace(content, parsed, place, quoted, write.value)
        }
        // Also when the value was there already: the answer to the last reload may have been lost.
        try await place.file.reload(services)
        return [:]
    }

    private func replace(
        _ content: ConsumerFile.Content?, _ parsed: DotenvFile, _ place: Place, _ quoted: String, _ value: SecretValue
    ) throws(SystemError) {
        let owner = try access(content, place)
        let text: String
        do throws(DotenvFile.Problem) {
            text = try parsed.setting(place.name, to: quoted)
            // What was written is what will be read, and nothing else has changed.
            let again = try DotenvFile(text)
            let others = { (file: DotenvFile) in
                file.assignments.filter { $0.name != place.name }.map { [$0.name, $0.value ?? "\0"] }
            }
            guard try again.assignment(of: place.name)?.value.map({ SecretValue(utf8: $0) })?.matches(value) == true,
                others(again) == others(parsed)
            else { throw DotenvFile.Problem(line: 1, reason: "the variable can't be set without changing others") }
        } catch { throw unreadable(error, place) }
        try place.file.replace(with: SecretValue(utf8: text), mode: owner.mode, owner: (owner.user, owner.group)) {
            () throws(SystemError) in
            guard try place.file.content()?.state == content?.state else {
                throw SystemError(
                    .conflict, "\(place.file.path) changed while it was being written", disposition: .passing)
            }
        }
    }

    /// What the new file gets: what the policy says, else what the old one has.
    ///
    /// - Throws: `forbidden` for a file of somebody else, or one that others may read without the policy saying so.
    private func access(
        _ content: ConsumerFile.Content?, _ place: Place
    ) throws(SystemError) -> (mode: UInt32, user: UInt32?, group: UInt32?) {
        let wanted = try place.file.owner()
        guard let content else { return (place.file.mode ?? 0o600, wanted?.user, wanted?.group) }
        guard content.owner == geteuid() || content.owner == wanted?.user else {
            throw SystemError(
                .forbidden, "\(place.file.path) belongs to another user",
                advice: "mend it with `chown`, or name the user with `owner` at the backend in the policy")
        }
        guard place.file.mode != nil || content.mode & 0o077 == 0 else {
            throw SystemError(
                .forbidden, "others may read or write \(place.file.path)",
                advice: "mend it with `chmod 600`, or allow it with `mode` at the backend in the policy")
        }
        return (place.file.mode ?? content.mode & 0o700, wanted?.user ?? content.owner, wanted?.group ?? content.group)
    }

    package func read(
        _ selection: StoredSelection, at target: BackendTarget
    ) async throws(SystemError) -> StoredValue? {
        guard case .current = selection else {
            throw SystemError(.unsupported, "a variable holds only its current value")
        }
        let place = try place(target)
        return try value(try parse(try place.file.content(), place), place).map {
            StoredValue(value: $0, version: nil, receipt: [:])
        }
    }

    package func unstage(_ version: VersionReference, at target: BackendTarget) async throws(SystemError) {}

    package func prune(_ version: VersionReference, at target: BackendTarget) async throws(SystemError) {}

    package func list(at target: BackendTarget) async throws(SystemError) -> [ListedVersion] {
        throw SystemError(.unsupported, "a variable holds only its current value")
    }

    package func probe(_ target: BackendTarget) async throws(SystemError) {
        let place = try place(target)
        let content = try place.file.content()
        _ = try value(try parse(content, place), place)
        _ = try access(content, place)
        try AtomicFile.probeFolder(place.file.folder)
    }

    // MARK: Pieces

    private func place(_ target: BackendTarget) throws(SystemError) -> Place {
        if let reason = Self.problem(target.path) {
            throw SystemError(.misconfigured, "the path of a variable is not allowed: \(reason)")
        }
        let (file, name) = Self.halves(target.path)
        return Place(file: try ConsumerFile(file, in: directory, target.parameters), name: name)
    }

    private static func halves(_ path: String) -> (file: String, name: String) {
        guard let sign = path.lastIndex(of: "#") else { return (path, "") }
        return (String(path[..<sign]), String(path[path.index(after: sign)...]))
    }

    @Sendable private static func problem(_ path: String) -> String? {
        let (file, name) = halves(path)
        guard let first = name.utf8.first, !(UInt8(ascii: "0")...UInt8(ascii: "9")).contains(first),
            name.utf8.allSatisfy(isNameByte)
        else { return "it is FILE#NAME, such as app/.env#API_KEY; a name holds letters, digits and '_'" }
        return ConsumerFile.problem(file)
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
            true
        default: false
        }
    }

    private func parse(_ content: ConsumerFile.Content?, _ place: Place) throws(SystemError) -> DotenvFile {
        let text = content.map { $0.value.exposedText() } ?? ""
        guard let text else {
            throw SystemError(.local, "\(place.file.path) is not UTF-8", advice: "see what wrote it; it was left alone")
        }
        do throws(DotenvFile.Problem) { return try DotenvFile(text) } catch { throw unreadable(error, place) }
    }

    /// An empty variable is one that waits for its first value.
    private func value(_ parsed: DotenvFile, _ place: Place) throws(SystemError) -> SecretValue? {
        do throws(DotenvFile.Problem) {
            guard let text = try parsed.assignment(of: place.name)?.value, !text.isEmpty else { return nil }
            return SecretValue(utf8: text)
        } catch { throw unreadable(error, place) }
    }

    private func unreadable(_ problem: DotenvFile.Problem, _ place: Place) -> SystemError {
        SystemError(
            .local, "\(place.file.path), line \(problem.line): \(problem.reason)",
            advice: "mend the line; the file was left alone")
    }

    private func quoted(_ value: SecretValue, _ place: Place) throws(SystemError) -> String {
        guard let text = value.exposedText() else {
            throw SystemError(.misconfigured, "the value is not UTF-8", advice: "use {{value|base64}} in a template")
        }
        switch DotenvQuoting.quote(text) {
        case .quoted(let quoted): return quoted
        case .impossible(let reason):
            throw SystemError(
                .rejectedValue, "\(place.text) can't be set: the value \(reason)",
                advice: "use {{value|base64}} in a template, or let the issuer leave such characters out")
        }
    }
}

extension DotenvBackend {
    static let type = BackendType(description: description) { _, parameters, services in
        DotenvBackend(parameters, services)
    }

    static let description = BackendDescription(
        type: "dotenv", summary: "One variable of a .env file on this machine.",
        configuration: ParameterSchema([
            ParameterField("directory", .path, required: true, "The folder below which the files lie.")
        ]),
        target: ParameterSchema(
            [ConsumerFile.modeField(default: nil, "Permission bits, octal; the file's own when absent.")]
                + ConsumerFile.otherFields),
        traits: BackendTraits(staging: .onPromote, readsBack: true, lists: false, destroys: false),
        checkPath: problem)
}
