import ArgumentParser
import Foundation
import KeyturnCore
import KeyturnPolicy
import KeyturnStore
import KeyturnSystem

struct AuditVerifyCommand: KeyturnCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Checks the hash chain and the checkpoints of the audit trail, or of an export.",
        discussion: """
            It finds entries that were removed, changed, put in or moved; checkpoints find those that were cut off at the \
            end, and a chain that was computed anew. Signatures must be those of --public-key, or else of the configured \
            key.

            Exit statuses: 0 all is whole; 1 something is wrong, and which entry.

            Examples:
              keyturn audit verify
              keyturn audit verify --file trail.jsonl --public-key ed25519:...
            """)

    @Option(help: "An export to check instead of the state; no configuration is needed then.")
    var file: String?

    @Option(help: "A checkpoint file to hold the trail against (default: the configured one, for the state).")
    var checkpoints: String?

    @Option(name: .customLong("public-key"), help: "A key that may have signed, as `audit key` prints it; repeatable.")
    var publicKeys: [String] = []

    @OptionGroup var options: GlobalOptions

    private struct Wire: Encodable {
        struct Finding: Encodable {
            let sequence: Int64
            let problem: String
        }

        let ok: Bool
        let entries: Int64
        let head: String
        let after: Int64
        let checkpoints: Int
        @Nullable var coveredUpTo: Int64?
        @Nullable var coveredAt: Date?
        let uncovered: Int64
        let publicKeys: [String]
        let keyKnown: Bool
        @Nullable var problem: String?
        let findings: [Finding]
    }

    func execute() async throws {
        let named = try publicKeys.map { text throws(CommandFailure) in
            guard let key = AuditPublicKey(text) else {
                throw CommandFailure(.usage, "--public-key is not a key as `keyturn audit key` prints it")
            }
            return key
        }
        let verification: AuditVerification
        let trusted: [AuditPublicKey]
        if let file {
            trusted = named.isEmpty ? configuredKeys() : named
            verification = try await AuditTrailCheck(
                trail: ExportedTrail(path: GlobalOptions.absolute(file)), trusted: trusted,
                checkpointFile: checkpoints.map(GlobalOptions.absolute)
            ).run()
        } else {
            let composition = try Composition.load(options)
            trusted = try named.isEmpty ? composition.auditKey().map { [$0.publicKey] } ?? [] : named
            let journal = try composition.readJournal()
            verification = try await AuditTrailCheck(
                trail: try await KeptTrail(journal: journal), trusted: trusted,
                checkpointFile: checkpoints.map(GlobalOptions.absolute)
                    ?? composition.configuration.audit.checkpointsPath.flatMap(Self.ifThere)
            ).run()
        }
        try show(verification, trusted)
    }

    /// Before the first checkpoint there is no file.
    private static func ifThere(_ path: String) -> String? {
        FileManager.default.fileExists(atPath: path) ? path : nil
    }

    /// That of this machine's configuration, if there is one that can be used.
    private func configuredKeys() -> [AuditPublicKey] {
        guard let composition = try? Composition.check(options).0, let key = try? composition.auditKey() else {
            return []
        }
        return [key.publicKey]
    }

    private func show(_ verification: AuditVerification, _ trusted: [AuditPublicKey]) throws {
        let findings = verification.findings
        let chain = verification.chain
        let newest = verification.newest
        let keys = verification.keys.map(\.description).sorted()
        switch options.format {
        case .json:
            Terminal.print(
                try JSONText.pretty(
                    Wire(
                        ok: findings.isEmpty, entries: chain.count, head: chain.head, after: chain.after,
                        checkpoints: verification.checkpoints, coveredUpTo: newest?.sequence, coveredAt: newest?.at,
                        uncovered: verification.uncovered.map { Int64($0.count) } ?? 0, publicKeys: keys,
                        keyKnown: !trusted.isEmpty, problem: findings.first?.problem,
                        findings: findings.map { Wire.Finding(sequence: $0.sequence, problem: $0.problem) })))
        case .table where findings.isEmpty:
            let part = chain.after > 0 ? ", from entry \(chain.after + 1) on" : ""
            Terminal.print("\(chain.count) entries\(part), the chain is whole, head \(chain.head)")
            Terminal.print(coverage(verification))
            if trusted.isEmpty, let key = keys.first {
                Terminal.tell(
                    "keyturn: no key is known here to hold the signatures against; if it is yours, give --public-key \(key)"
                )
            }
        case .table: for finding in findings { Terminal.print(finding.problem) }
        }
        guard let first = findings.first else { return }
        throw CommandFailure(
            .failed, "the audit trail is broken: \(first.problem)", advice: "compare it with a backup or an export")
    }

    private func coverage(_ verification: AuditVerification) -> String {
        let count = verification.checkpoints
        guard let newest = verification.newest else {
            return "no checkpoint covers them: nobody could tell if the newest were cut off"
        }
        let time = TimeText.utc(newest.at)
        let signed = count == 1 ? "one checkpoint, of \(time)" : "\(count) checkpoints, the newest of \(time)"
        guard let uncovered = verification.uncovered else { return "\(signed): all are covered" }
        let which =
            uncovered.count == 1
            ? "entry \(uncovered.lowerBound) is" : "entries \(uncovered.lowerBound) to \(uncovered.upperBound) are"
        return "\(signed); \(which) not covered yet"
    }
}
