import ArgumentParser
import Foundation
import KeyturnCore
import KeyturnStore

struct StatusCommand: KeyturnCommand {
    static let configuration = CommandConfiguration(
        commandName: "status",
        abstract: "Shows stages, versions, the next rotation and the last error.",
        discussion: """
            Works beside a running daemon.

            Examples:
              keyturn status
              keyturn status payments/momento-cache --format json
            """)

    @Argument(help: "The secrets; all when none is named.")
    var secrets: [String] = []

    @OptionGroup var options: GlobalOptions

    func execute() async throws {
        let composition = try Composition.load(options)
        let journal = try composition.readJournal()
        let wanted = try await SecretNames.known(secrets, composition, journal)
        let now = Date()
        let rows = try await ReportRow.all(composition, at: now).filter {
            wanted.isEmpty || wanted.contains($0.plan.secret)
        }.sorted { $0.plan.secret < $1.plan.secret }
        let switches = try await journal?.switches() ?? []
        switch options.format {
        case .json:
            Terminal.print(
                try JSONText.pretty(
                    StatusWire(paused: switches.map(PauseWire.init), secrets: rows.map(StatusWire.Entry.init))))
        case .table:
            for pause in switches { Terminal.print(options.color ? Color.bad.paint(pause.sentence) : pause.sentence) }
            for row in rows { Terminal.print(text(row, at: now)) }
        }
    }

    private func text(_ row: ReportRow, at now: Date) -> String {
        let zone = row.policy?.rotation.timeZone ?? .gmt
        var lines = ["\(row.plan.secret)  \(row.plan.state.rawValue)"]
        for version in row.record?.versions ?? [] {
            var line = "  version \(version.number)  \(version.stage.rawValue)"
            if let keyID = version.keyID { line += "  key \(keyID.prefix(40))" }
            if let promotedAt = version.promotedAt { line += "  current since \(TimeText.local(promotedAt, in: zone))" }
            if version.rolledBackAt != nil { line += "  rolled back to" }
            if version.tainted { line += "  compromised" }
            if version.isLeaving {
                line += row.isHeld ? "  stays" : "  retires \(TimeText.local(version.retireAt, in: zone))"
            } else if version.stage.mayExistAtIssuer {
                line += version.expiresAt.map { "  expires \(TimeText.local($0, in: zone))" } ?? "  never expires"
            }
            lines.append(line)
        }
        lines.append(
            "  next  \(row.plan.action.rawValue) \(TimeText.local(row.plan.at, in: zone)): \(row.plan.sentence)")
        if let rotation = row.record?.rotation {
            lines.append(
                "  \(rotation.isRollback ? "rollback" : "rotation") to version \(rotation.version): \(rotation.machine.phase.rawValue)"
            )
            if let failure = rotation.lastError {
                lines.append(
                    "    try \(rotation.attempt), \(failure.step): \(failure.message) [\(failure.code.rawValue)]")
                if !failure.advice.isEmpty { lines.append("    \(failure.advice)") }
            }
        }
        for unknown in row.unknown { lines.append("  unknown  \(unknown.sentence { TimeText.local($0, in: zone) })") }
        if let resolved = row.record?.resolved {
            lines.append(
                "  resolved  \(TimeText.local(resolved.at, in: zone)): \(resolved.step) of version \(resolved.version): "
                    + "\(resolved.found); \(resolved.action)")
        }
        for version in row.record?.leaving ?? [] {
            guard let failure = version.retirement?.lastError else { continue }
            lines.append("  retiring version \(version.number): \(failure.message) [\(failure.code.rawValue)]")
        }
        if let firing = row.record?.firing, !firing.isEmpty {
            lines.append("  alerts  \(firing.keys.sorted().joined(separator: ", "))")
        }
        return lines.joined(separator: "\n")
    }
}

/// `status --format json`. Its keys are fixed; see the article on JSON.
struct StatusWire: Encodable {
    struct Version: Encodable {
        let number: Int
        let stage: String
        let issuedAt: Date
        @Nullable var expiresAt: Date?
        @Nullable var promotedAt: Date?
        @Nullable var retireAt: Date?
        @Nullable var keyId: String?
        @Nullable var rolledBackAt: Date?
        let compromised: Bool
    }

    struct Rotation: Encodable {
        let step: String
        let attempt: Int
        @Nullable var lastError: String?
        @Nullable var nextAttempt: Date?
    }

    /// A step whose answer is not known.
    struct Unknown: Encodable {
        let step: String
        let version: Int
        let since: Date
        @Nullable var askedAt: Date?
        let sentence: String
    }

    /// The newest unknown outcome that was resolved.
    struct Resolved: Encodable {
        let at: Date
        let step: String
        let version: Int
        let outcome: String
        let found: String
        let action: String
    }

    struct Entry: Encodable {
        let secret: String
        let state: String
        let versions: [Version]
        @Nullable var nextRotation: Date?
        @Nullable var rotation: Rotation?
        @Nullable var quarantined: String?
        @Nullable var pausedSince: Date?
        let unknown: [Unknown]
        @Nullable var resolved: Resolved?

        init(_ row: ReportRow) {
            secret = row.plan.secret.text
            state = row.plan.state.rawValue
            versions = (row.record?.versions ?? []).map { version in
                Version(
                    number: version.number, stage: version.stage.rawValue, issuedAt: version.issuedAt,
                    expiresAt: version.expiresAt, promotedAt: version.promotedAt,
                    retireAt: row.isHeld && version.isLeaving ? nil : version.retireAt, keyId: version.keyID,
                    rolledBackAt: version.rolledBackAt, compromised: version.tainted)
            }
            nextRotation = row.plan.at
            rotation = row.record?.rotation.map {
                Rotation(
                    step: $0.lastError?.step ?? $0.machine.phase.rawValue, attempt: $0.attempt,
                    lastError: $0.lastError.map { "\($0.code.rawValue): \($0.message)" }, nextAttempt: $0.nextAttempt)
            }
            quarantined = row.record?.quarantine?.reason
            pausedSince = row.record?.pausedSince
            unknown = row.unknown.map { unknown in
                Unknown(
                    step: unknown.step.step, version: unknown.step.version, since: unknown.step.since,
                    askedAt: unknown.askedAt, sentence: unknown.sentence(TimeText.utc))
            }
            resolved = row.record?.resolved.map {
                Resolved(
                    at: $0.at, step: $0.step, version: $0.version, outcome: $0.outcome.rawValue, found: $0.found,
                    action: $0.action)
            }
        }
    }

    let paused: [PauseWire]
    let secrets: [Entry]
}
