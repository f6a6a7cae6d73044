import ArgumentParser
import KeyturnCore
import KeyturnEngine
import KeyturnPolicy
import KeyturnStore

struct ValidateCommand: KeyturnCommand {
    static let configuration = CommandConfiguration(
        commandName: "validate",
        abstract: "Checks configuration and policies.",
        discussion: """
            Every error of every file is shown at once, as file:line:column: message. With --online every backend is \
            asked too; no value is written there.

            Exit statuses: 0 all is well (warnings included); 65 there are errors; 69 a system is out of reach.

            Example:
              keyturn validate && keyturn validate --online
            """)

    @Flag(help: "Ask every backend too, and follow every reference.")
    var online = false

    @OptionGroup var options: GlobalOptions

    private struct Wire: Encodable {
        struct Entry: Encodable {
            let file: String
            let line: Int
            let column: Int
            let severity: String
            let message: String
        }
        let diagnostics: [Entry]
        let policies: Int
        let ok: Bool
    }

    func execute() async throws {
        let (composition, diagnostics) = try Composition.check(options)
        switch options.format {
        case .table:
            for diagnostic in diagnostics { Terminal.print("\(diagnostic)") }
        case .json:
            let entries = diagnostics.map {
                Wire.Entry(
                    file: $0.file, line: $0.line, column: $0.column, severity: "\($0.severity)", message: $0.message)
            }
            Terminal.print(
                try JSONText.pretty(
                    Wire(diagnostics: entries, policies: composition?.policies.count ?? 0, ok: composition != nil)))
        }
        guard let composition else { throw ExitStatus.badConfiguration.code }
        if online { try await ask(composition) }
        let count = composition.policies.count
        Terminal.tell("\(count) \(count == 1 ? "policy" : "policies"), no errors")
    }

    private func ask(_ composition: Composition) async throws {
        let sealer = AgeSealer(identities: try composition.identities())
        let services = try composition.services(try composition.readJournal(), sealer)
        let workplace = try composition.workplace(services)
        var failures: [SystemError] = []
        for policy in composition.policies {
            for entry in policy.backends {
                do throws(SystemError) { try await workplace.backends[entry.name]?.probe(entry.target) } catch {
                    failures.append(error)
                    Terminal.tell("keyturn: \(policy.secret), backend '\(entry.name)': \(error)")
                }
            }
        }
        guard let first = failures.first else { return }
        throw CommandFailure(
            CommandFailure(first).status, "\(failures.count) backend\(failures.count == 1 ? "" : "s") can't be used")
    }
}
