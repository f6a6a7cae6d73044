import ArgumentParser
import Foundation
import KeyturnCore
import KeyturnEngine
import KeyturnStore

struct DriftCommand: KeyturnCommand {
    static let configuration = CommandConfiguration(
        commandName: "drift",
        abstract: "Compares what the backends hold with what was promoted.",
        discussion: """
            Every backend of each current version is read and its versions are listed; no value is shown. It works beside a \
            running daemon and changes nothing. With --repair the promoted value of the secrets that are named is put back \
            where another or none is found, whoever wrote it, and what is left of retired versions is taken away.

            Exit statuses: 0 no drift; 1 drift, or a backend that could not be asked; 69 no backend could be reached.

            Examples:
              keyturn drift
              keyturn drift payments/momento-cache --format json
              keyturn drift --repair payments/momento-cache
            """)

    @Argument(help: "The secrets; all when none is named.")
    var secrets: [String] = []

    @Flag(name: [.long, .customLong("fix")], help: "Put the promoted value back where it is missing or another.")
    var repair = false

    @OptionGroup var patience: PatienceOption

    @OptionGroup var options: GlobalOptions

    func execute() async throws {
        let patience = try patience.seconds
        let composition = try Composition.load(options)
        let names = try await SecretNames.known(secrets, composition, try composition.readJournal())
        guard repair else { return try conclude(try await look(names, composition)) }
        guard !names.isEmpty else {
            throw CommandFailure(
                .usage, "--repair needs the names of the secrets", advice: "`keyturn drift` lists them")
        }
        for name in names {
            guard composition.policy(name) != nil else {
                throw CommandFailure(.usage, "no policy names \(name) any more, so it can't be repaired")
            }
        }
        let status = try await DriftRepair(composition: composition, names: names, patience: patience).run()
        try conclude(try await look(names, composition), status)
    }

    private func look(_ names: [SecretName], _ composition: Composition) async throws -> DriftReport? {
        guard let running = try await composition.observer() else { return nil }
        defer { running.close() }
        return try await Progress.shown { progress in
            try await running.engine.drift(of: names.isEmpty ? nil : names, progress: progress)
        }
    }

    /// - Parameter repaired: what the repair itself ended with.
    private func conclude(_ report: DriftReport?, _ repaired: ExitStatus = .done) throws {
        let findings = report?.findings ?? []
        switch options.format {
        case .json: Terminal.print(try JSONText.pretty(DriftWire(report, at: Date())))
        case .table:
            if !findings.isEmpty { Terminal.print(Self.table(findings).text(color: options.color)) }
            Terminal.tell(Self.summary(report))
        }
        if repaired != .done { throw repaired.code }
        if report?.reachedNothing == true, findings.allSatisfy(Self.isUnreachable) { throw ExitStatus.unavailable.code }
        if report?.isDrifted == true || report?.isIncomplete == true { throw ExitStatus.failed.code }
    }

    private static func isUnreachable(_ finding: DriftFinding) -> Bool {
        finding.weight == .note || finding.error.map { CommandFailure($0).status == .unavailable } ?? false
    }

    private static func table(_ findings: [DriftFinding]) -> Table {
        var table = Table("SECRET", "VERSION", "KIND", "WHAT", "MEND")
        for finding in findings {
            let color: Color? =
                switch finding.weight {
                case .drift: .bad
                case .notAsked: .warning
                case .note: nil
                }
            table.add(
                (finding.secret.text, nil), ("\(finding.version)", nil), (finding.kind.rawValue, color),
                (finding.sentence, nil), (finding.mend.isEmpty ? "-" : finding.mend, nil))
        }
        return table
    }

    private static func summary(_ report: DriftReport?) -> String {
        guard let report, report.secrets > 0 else { return "no secret has a current version yet" }
        let drifted = report.findings.count { $0.weight == .drift }
        var text = "\(report.answered) of \(report.places) places answered, "
        text += drifted == 0 ? "no drift found" : "\(drifted) finding\(drifted == 1 ? "" : "s") of drift"
        let unasked = report.findings.count { $0.weight == .notAsked }
        if unasked > 0 { text += ", \(unasked) could not be asked" }
        return text
    }
}

/// `drift --format json`. Its keys are fixed; see the article on JSON.
struct DriftWire: Encodable {
    struct Entry: Encodable {
        let secret: String
        let version: Int
        let backend: String
        let path: String
        let kind: String
        let weight: String
        let sentence: String
        let mend: String
        @Nullable var code: String?
    }

    let checkedAt: Date
    let secrets: Int
    let places: Int
    let answered: Int
    let findings: [Entry]

    init(_ report: DriftReport?, at now: Date) {
        checkedAt = now
        secrets = report?.secrets ?? 0
        places = report?.places ?? 0
        answered = report?.answered ?? 0
        findings = (report?.findings ?? []).map { finding in
            let weight =
                switch finding.weight {
                case .drift: "drift"
                case .notAsked: "not-asked"
                case .note: "note"
                }
            return Entry(
                secret: finding.secret.text, version: finding.version, backend: finding.target.backend,
                path: finding.target.path, kind: finding.kind.rawValue, weight: weight, sentence: finding.sentence,
                mend: finding.mend, code: finding.error?.code.rawValue)
        }
    }
}
