import ArgumentParser
import Foundation
import KeyturnCore
import KeyturnStore

extension PolicyDuration: ExpressibleByArgument {
    package init?(argument: String) { try? self.init(argument) }
}

struct ReportCommand: KeyturnCommand {
    static let configuration = CommandConfiguration(
        commandName: "report",
        abstract: "Shows keys nearing expiry and what would be done, and changes nothing.",
        discussion: """
            The dry run: it reads policies and state, asks no outside system, and works beside a running daemon.

            Exit statuses: 0; 2 when a key expires, or has expired, within --fail-within.

            Examples:
              keyturn report
              keyturn report --within 14d
              keyturn report --fail-within 7d --format json
            """)

    @Option(help: "Only keys that expire or rotate within this time, such as 30d.")
    var within: PolicyDuration?

    @Option(name: .customLong("fail-within"), help: "End with status 2 when a key expires within this time.")
    var failWithin: PolicyDuration?

    @OptionGroup var options: GlobalOptions

    func execute() async throws {
        let composition = try Composition.load(options)
        let now = Date()
        let all = try await ReportRow.all(composition, at: now)
        let switches = try await composition.readJournal()?.switches() ?? []
        let rows = all.filter { row in
            guard let within else { return true }
            return row.concerns(now.addingTimeInterval(within.timeInterval))
        }
        switch options.format {
        case .json:
            Terminal.print(
                try JSONText.pretty(
                    ReportWire(
                        generatedAt: now, within: within?.description, paused: switches.map(PauseWire.init),
                        secrets: rows.map { $0.wire(at: now) })))
        case .table where rows.isEmpty:
            Terminal.tell(within.map { "no key expires or rotates within \($0)" } ?? "there are no policies")
        case .table: Terminal.print(ReportRow.table(rows, at: now).text(color: options.color))
        }
        if options.format == .table { for pause in switches { Terminal.tell(pause.sentence) } }
        if let failWithin {
            let limit = now.addingTimeInterval(failWithin.timeInterval)
            if all.contains(where: { $0.expiresAt.map { $0 <= limit } ?? false }) { throw ExitStatus.nearExpiry.code }
        }
    }
}
