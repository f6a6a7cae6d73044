import ArgumentParser
import Foundation
import KeyturnCore
import KeyturnPolicy
import KeyturnStore
import KeyturnSystem

struct AuditCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "audit", abstract: "Checks, exports and signs the audit trail.",
        subcommands: [AuditVerifyCommand.self, AuditExportCommand.self, AuditKeyCommand.self])
}

struct AuditExportCommand: KeyturnCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Prints the audit trail with all that proves it, as lines of JSON.",
        discussion: """
            The first line says where the export begins and the last one how many entries it has; each checkpoint stands \
            behind the entry that it covers. `keyturn audit verify --file EXPORT` checks it, on any machine. The form is \
            always lines of JSON, whatever --format says.

            Examples:
              keyturn audit export > trail.jsonl
              keyturn audit export --after 1200 >> more.jsonl
            """)

    @Option(help: "Only entries with greater numbers.")
    var after: Int64 = 0

    @OptionGroup var options: GlobalOptions

    func execute() async throws {
        guard (0..<AuditChain.Checker.largest).contains(after) else {
            throw CommandFailure(.usage, "--after must be the number of an entry, or 0")
        }
        let composition = try Composition.load(options)
        guard let journal = try composition.readJournal() else {
            throw CommandFailure(.failed, "there is no state yet, and no audit trail", advice: "`keyturn run --once`")
        }
        var hash = AuditChain.start
        if after > 0 {
            guard let found = try await journal.auditHashes(of: [after])[after] else {
                throw CommandFailure(
                    .failed, "there is no entry \(after)", advice: "`keyturn history` shows what there is")
            }
            hash = found
        }
        let instance = try await journal.installation().instance
        Terminal.print(AuditLine.trail(AuditLine.Start(instance: instance, after: after, hash: hash)).text)
        var checkpoints = CheckpointCursor(journal: journal, after: after)
        var last = after
        var count: Int64 = 0
        while true {
            let page = try await journal.auditTrail(after: last, limit: 1000)
            guard let newest = page.last else { break }
            for kept in page {
                guard case .entry(let entry) = kept else {
                    throw CommandFailure(
                        .failed, "entry \(kept.sequence) can't be read; the export ends before it",
                        advice: "`keyturn audit verify` says what is wrong")
                }
                Terminal.print(AuditLine.entry(entry).text)
                for checkpoint in try await checkpoints.take(upTo: entry.sequence) {
                    Terminal.print(AuditLine.checkpoint(checkpoint).text)
                }
            }
            last = newest.sequence
            count += Int64(page.count)
        }
        for checkpoint in try await checkpoints.take(upTo: .max) {
            Terminal.print(AuditLine.checkpoint(checkpoint).text)
        }
        Terminal.print(AuditLine.end(entries: count).text)
    }
}

/// Checkpoints in order, a page at a time.
private struct CheckpointCursor {
    private let journal: SQLiteJournal
    private var place: CheckpointPlace?
    private var page: [KeptCheckpoint] = []
    private var isAtEnd = false

    init(journal: SQLiteJournal, after sequence: Int64) {
        self.journal = journal
        place = CheckpointPlace(sequence: sequence + 1, key: "")
    }

    /// Those that cover no entry behind `sequence` and were not taken yet.
    mutating func take(upTo sequence: Int64) async throws(JournalError) -> [AuditCheckpoint] {
        var taken: [AuditCheckpoint] = []
        while true {
            if page.isEmpty, !isAtEnd {
                page = try await journal.checkpoints(after: place, limit: 1000)
                isAtEnd = page.isEmpty
                place = page.last?.place
            }
            guard let next = page.first, next.place.sequence <= sequence else { return taken }
            page.removeFirst()
            if let checkpoint = next.checkpoint { taken.append(checkpoint) }
        }
    }
}

struct AuditKeyCommand: KeyturnCommand {
    static let configuration = CommandConfiguration(
        commandName: "key",
        abstract: "Prints the public key of the audit trail's checkpoints.",
        discussion: """
            Keep it where nobody who can change the state has access: `keyturn audit verify --public-key KEY` takes it. \
            With --create a key is made first, if there is none; it is never overwritten.

            Examples:
              keyturn audit key
              keyturn audit key --create
            """)

    @Flag(help: "Make the key that keyturn.yaml names, if it is not there.")
    var create = false

    @OptionGroup var options: GlobalOptions

    private struct Wire: Encodable { let publicKey: String }

    func execute() async throws {
        let composition = try Composition.load(options)
        guard let path = composition.configuration.audit.signingKeyPath else {
            throw CommandFailure(
                .badConfiguration, "keyturn.yaml names no key for the audit trail",
                advice: "add `audit: {signingKey: {file: var/audit.key}}`, then `keyturn audit key --create`")
        }
        // Not to be followed: a link that leads nowhere is there too.
        let isThere = (try? FileManager.default.attributesOfItem(atPath: path)) != nil
        let key = create && !isThere ? try AuditKeyFile.create(path) : try AuditKeyFile.load(path)
        switch options.format {
        case .json: Terminal.print(try JSONText.pretty(Wire(publicKey: "\(key.publicKey)")))
        case .table: Terminal.print("\(key.publicKey)")
        }
    }
}
