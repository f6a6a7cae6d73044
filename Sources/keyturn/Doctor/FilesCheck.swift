import Foundation
import KeyturnCore
import KeyturnPolicy
import KeyturnStore

/// Who may read and write the identity, the state, the vault, the configuration and the files of our own credentials.
struct FilesCheck: DoctorCheck {
    static let section = DoctorSection.files

    private let context: DoctorContext
    private let composition: Composition

    init(_ context: DoctorContext, _ composition: Composition) {
        self.context = context
        self.composition = composition
    }

    /// Permission bits that must not be set.
    private static let forOthers: UInt32 = 0o077
    private static let writableByOthers: UInt32 = 0o022

    func findings() async -> [DoctorFinding] {
        var findings: [DoctorFinding] = []
        if let identity = composition.configuration.identityPath {
            findings += look(identity, "the identity", forbidden: Self.forOthers)
            findings += look(folder(of: identity), "the identity's folder", forbidden: Self.writableByOthers)
            // What its mode does not explain.
            if let error = context.identityError, findings.allSatisfy({ $0.severity != .error }) {
                findings.append(
                    DoctorFinding(
                        .files, .error, error.message,
                        mend: error.advice.isEmpty ? "put the identity back from its backup" : error.advice))
            }
        }
        let state = composition.configuration.statePath
        if !state.isEmpty {
            findings += database(state)
            findings += look(folder(of: state), "the state's folder", forbidden: Self.writableByOthers)
        }
        for directory in FileFolders.vaults(composition) { findings += vault(directory) }
        findings += look(context.path, "the configuration", forbidden: Self.writableByOthers)
        findings += look(
            composition.configuration.schedulesPath, "the folder of the policies", forbidden: Self.writableByOthers)
        for path in FileFolders.credentials(composition) {
            findings += look(path, "the file of a credential", forbidden: Self.forOthers, isOurs: false)
        }
        return findings
    }

    /// - Parameter isOurs: whether Keyturn may change its mode.
    private func look(
        _ path: String, _ what: String, forbidden: UInt32, isOurs: Bool = true
    ) -> [DoctorFinding] {
        guard let file = FileFacts(path) else { return [] }
        guard file.belongsToUs else {
            return [
                DoctorFinding(
                    .files, .error, "\(what) \(path) belongs to another user", mend: "chown $(id -un) \(path)")
            ]
        }
        guard !file.isLink, file.mode & forbidden != 0 else { return [] }
        let mode = file.mode & ~forbidden
        let words = forbidden == Self.forOthers ? "others may get at" : "others may write to"
        return [
            DoctorFinding(
                .files, forbidden == Self.forOthers ? .error : .warning, "\(words) \(what) \(path)",
                mend: "chmod \(String(mode, radix: 8)) \(path)", fix: isOurs ? file.fix(mode) : nil)
        ]
    }

    /// One finding for the database and the files that SQLite keeps beside it.
    private func database(_ state: String) -> [DoctorFinding] {
        let files = ["", "-wal", "-shm"].compactMap { FileFacts(state + $0) }
        guard let worst = files.first(where: { !$0.belongsToUs || $0.mode & Self.forOthers != 0 }) else { return [] }
        return look(worst.path, "the state", forbidden: Self.forOthers).map { finding in
            guard finding.fix != nil else { return finding }
            return DoctorFinding(.files, finding.severity, finding.sentence, mend: finding.mend) {
                for file in files { _ = try await file.fix(file.mode & ~Self.forOthers)() }
                return "others can't get at \(state) any more"
            }
        }
    }

    /// One finding for a whole vault.
    private func vault(_ directory: String) -> [DoctorFinding] {
        var open: [FileFacts] = []
        for path in [directory] + FileFolders.contents(of: directory) {
            guard let file = FileFacts(path), !file.isLink else { continue }
            guard file.belongsToUs else {
                return [
                    DoctorFinding(
                        .files, .error, "\(path) in the vault belongs to another user",
                        mend: "chown -R $(id -un) \(directory)")
                ]
            }
            if file.mode & Self.forOthers != 0 { open.append(file) }
        }
        guard let first = open.first else { return [] }
        let others = open
        return [
            DoctorFinding(
                .files, .error,
                "others may get at \(open.count == 1 ? "a file or folder" : "\(open.count) files or folders") of the vault, "
                    + "such as \(first.path)", mend: "chmod -R go-rwx \(directory)"
            ) {
                for file in others { _ = try await file.fix(file.mode & ~Self.forOthers)() }
                return "others can't get at what lies in \(directory) any more"
            }
        ]
    }

    private func folder(of path: String) -> String {
        URL(filePath: path).deletingLastPathComponent().standardizedFileURL.path(percentEncoded: false)
    }
}
