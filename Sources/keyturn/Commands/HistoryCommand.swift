import ArgumentParser
import Foundation
import KeyturnCore
import KeyturnStore

struct HistoryCommand: KeyturnCommand {
    static let configuration = CommandConfiguration(
        commandName: "history",
        abstract: "Shows the audit trail.",
        discussion: """
            With --format json each entry is one line of JSON. `keyturn audit verify` checks that none was changed;
            `keyturn audit export` gives them with all that proves it.

            Examples:
              keyturn history payments/momento-cache
              keyturn history --limit 20
            """)

    @Argument(help: "The secret; all when none is named.")
    var secret: String?

    @Option(help: "Only the newest entries, this many.")
    var limit: Int?

    @OptionGroup var options: GlobalOptions

    struct Wire: Encodable {
        let sequence: Int64
        let at: Date
        let kind: String
        @Nullable var secret: String?
        @Nullable var version: Int?
        @Nullable var step: String?
        let actor: String
        let detail: [String: String]
        let hash: String
    }

    func execute() async throws {
        let composition = try Composition.load(options)
        let journal = try composition.readJournal()
        var name: SecretName?
        if let secret { name = try await SecretNames.known([secret], composition, journal).first }
        var entries: [AuditEntry] = []
        var last: Int64 = 0
        while let journal {
            let page = try await journal.auditEntries(of: name, after: last, limit: 1000)
            guard let newest = page.last else { break }
            last = newest.sequence
            entries += page
            if let limit, entries.count > limit { entries.removeFirst(entries.count - max(0, limit)) }
        }
        switch options.format {
        case .json:
            for entry in entries {
                let event = entry.event
                Terminal.print(
                    try JSONText.line(
                        Wire(
                            sequence: entry.sequence, at: event.at, kind: event.kind, secret: event.secret?.text,
                            version: event.version, step: event.step, actor: event.actor, detail: event.detail,
                            hash: entry.hash)))
            }
        case .table where entries.isEmpty: Terminal.tell("nothing has happened yet")
        case .table: Terminal.print(table(entries, composition).text(color: options.color))
        }
    }

    private func table(_ entries: [AuditEntry], _ composition: Composition) -> Table {
        var table = Table("#", "AT", "SECRET", "VERSION", "WHAT", "STEP", "BY", "DETAIL")
        for entry in entries {
            let event = entry.event
            let zone = event.secret.flatMap(composition.policy)?.rotation.timeZone ?? .gmt
            let detail = event.detail.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
            table.add(
                "\(entry.sequence)", TimeText.local(event.at, in: zone), event.secret?.text ?? "-",
                event.version.map { "\($0)" } ?? "-", event.kind, event.step ?? "-", event.actor,
                detail.joined(separator: " "))
        }
        return table
    }
}
