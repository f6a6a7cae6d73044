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
            Every error of every file is shown at once, as file:line:column: message. With --online every issuer and \
            backend that a policy names is asked too, and the references of every alert sink are followed; nothing is \
            changed there, and what is wrong with one system hides no other.

            Exit statuses: 0 all is well (warnings included); 65 there are errors. With --online, the first of these that \
            applies: 69 a system is out of reach; 77 a right is lacking; 65 a system is misconfigured.

            Example:
              keyturn validate && keyturn validate --online
            """)

    @Flag(help: "Ask every system too, and follow every reference.")
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
        struct Finding: Encodable {
            let system: String
            @Nullable var secret: String?
            let code: String
            let message: String
            let advice: String
        }
        let diagnostics: [Entry]
        let findings: [Finding]
        let policies: Int
        let ok: Bool
    }

    func execute() async throws {
        let (composition, diagnostics) = try Composition.check(options)
        if options.format == .table { for diagnostic in diagnostics { Terminal.print("\(diagnostic)") } }
        var findings: [OnlineCheck.Finding] = []
        if online, let composition { findings = try await OnlineCheck(composition: composition).findings() }
        if options.format == .json {
            Terminal.print(try JSONText.pretty(wire(composition, diagnostics, findings)))
        } else {
            for finding in findings {
                let secret = finding.secret.map { "\($0), " } ?? ""
                Terminal.tell("keyturn: \(secret)\(finding.system): \(finding.error)")
            }
        }
        guard let composition else { throw ExitStatus.badConfiguration.code }
        guard findings.isEmpty else {
            throw CommandFailure(
                OnlineCheck.status(findings),
                "\(findings.count) finding\(findings.count == 1 ? "" : "s") at the systems that were asked")
        }
        let count = composition.policies.count
        Terminal.tell("\(count) \(count == 1 ? "policy" : "policies"), no errors")
    }

    private func wire(
        _ composition: Composition?, _ diagnostics: [Diagnostic], _ findings: [OnlineCheck.Finding]
    ) -> Wire {
        Wire(
            diagnostics: diagnostics.map {
                Wire.Entry(
                    file: $0.file, line: $0.line, column: $0.column, severity: "\($0.severity)", message: $0.message)
            },
            findings: findings.map {
                Wire.Finding(
                    system: $0.system, secret: $0.secret?.text, code: $0.error.code.rawValue,
                    message: $0.error.message, advice: $0.error.advice)
            }, policies: composition?.policies.count ?? 0, ok: composition != nil && findings.isEmpty)
    }
}
