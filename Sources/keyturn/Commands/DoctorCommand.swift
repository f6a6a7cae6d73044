import ArgumentParser
import Foundation
import KeyturnCore

struct DoctorCommand: KeyturnCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor",
        abstract: "Examines the whole installation and names what mends each finding.",
        discussion: """
            Configuration, files, state, lock, systems and their clocks, orphans, drift, secrets, alerts and leftovers. What \
            is broken becomes a finding and never ends the examination. Nothing is changed without --fix, which does only \
            what is safe: it takes rights of others away from our own files, removes our own temporary files, releases the \
            claims of processes that are gone, and closes orphans whose end is over.

            Exit statuses, the first that applies: 65 the configuration is wrong; 69 a system is out of reach; 3 a secret is \
            quarantined; 1 there are other findings; 0 there is nothing worse than a note.

            Examples:
              keyturn doctor
              keyturn doctor --fix
            """)

    @Flag(help: "Mend what is safe to mend.")
    var fix = false

    @OptionGroup var options: GlobalOptions

    func execute() async throws {
        var parts = try await examine()
        var mended: [DoctorFinding] = []
        if fix {
            for finding in parts.flatMap(\.findings) {
                guard let fix = finding.fix else { continue }
                do {
                    Terminal.tell("mended: \(try await fix())")
                    mended.append(finding)
                } catch { Terminal.tell("keyturn: not mended: \(finding.sentence): \(error)") }
            }
            // One thing that is mended may have hidden, or caused, another.
            if !mended.isEmpty { parts = try await examine() }
        }
        switch options.format {
        case .json: Terminal.print(try JSONText.pretty(DoctorWire(parts, mended: mended, at: Date())))
        case .table: Terminal.print(Self.table(parts, mended: mended).text(color: options.color))
        }
        let status = Doctor.status(parts.flatMap(\.findings))
        if status != .done { throw status.code }
    }

    private func examine() async throws -> [Doctor.Examined] {
        await Doctor(context: try DoctorContext(options, at: Date())).examine()
    }

    private static func table(_ parts: [Doctor.Examined], mended: [DoctorFinding]) -> Table {
        var table = Table("SECTION", "STATE", "WHAT", "MEND")
        for part in parts {
            let name = part.section.rawValue
            if let skipped = part.skipped { table.add(name, "skipped", skipped, "-") }
            let mended = mended.filter { $0.section == part.section }
            if part.skipped == nil, part.findings.isEmpty, mended.isEmpty {
                table.add((name, nil), ("ok", .good), ("-", nil), ("-", nil))
            }
            for finding in mended {
                table.add((name, nil), ("mended", .good), (finding.sentence, nil), ("-", nil))
            }
            for finding in part.findings {
                let color: Color? =
                    switch finding.severity {
                    case .note: nil
                    case .warning: .warning
                    case .error: .bad
                    }
                table.add(
                    (name, nil), (finding.severity.rawValue, color), (finding.sentence, nil),
                    (finding.mend.isEmpty ? "-" : finding.mend, nil))
            }
        }
        return table
    }
}

/// `doctor --format json`. Its keys are fixed; see the article on JSON.
struct DoctorWire: Encodable {
    struct Section: Encodable {
        let section: String
        let state: String
        @Nullable var skipped: String?
    }

    struct Entry: Encodable {
        let section: String
        let severity: String
        @Nullable var secret: String?
        let sentence: String
        let mend: String
        let fixable: Bool
        let mended: Bool

        init(_ finding: DoctorFinding, mended: Bool) {
            section = finding.section.rawValue
            severity = finding.severity.rawValue
            secret = finding.secret
            sentence = finding.sentence
            mend = finding.mend
            fixable = finding.fix != nil
            self.mended = mended
        }
    }

    let checkedAt: Date
    let ok: Bool
    let sections: [Section]
    let findings: [Entry]

    init(_ parts: [Doctor.Examined], mended: [DoctorFinding], at now: Date) {
        checkedAt = now
        let left = parts.flatMap(\.findings)
        ok = left.allSatisfy { $0.severity == .note }
        sections = parts.map { part in
            let worst = part.findings.map(\.severity).max()?.rawValue
            return Section(
                section: part.section.rawValue, state: part.skipped == nil ? worst ?? "ok" : "skipped",
                skipped: part.skipped)
        }
        findings = mended.map { Entry($0, mended: true) } + left.map { Entry($0, mended: false) }
    }
}
