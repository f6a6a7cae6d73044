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
        switch options.format {
        case .json: Terminal.print(try JSONText.pretty(StatusWire(secrets: rows.map(StatusWire.Entry.init))))
        case .table: for row in rows { Terminal.print(text(row, at: now)) }
        }
    }

    private func text(_ row: ReportRow, at now: Date) -> String {
        let zone = row.policy?.rotation.timeZone ?? .gmt
        var lines = ["\(row.plan.secret)  \(row.plan.state.rawValue)"]
        for version in row.record?.versions ?? [] {
            var line = "  version \(version.number)  \(version.stage.rawValue)"
            if let keyID = version.keyID { line += "  key \(keyID.prefix(40))" }
            if let promotedAt = version.promotedAt { line += "  current since \(TimeText.local(promotedAt, in: zone))" }
            if version.stage == .previous || version.stage == .disabled {
                line += "  retires \(TimeText.local(version.retireAt, in: zone))"
            } else if version.stage.mayExistAtIssuer {
                line += version.expiresAt.map { "  expires \(TimeText.local($0, in: zone))" } ?? "  never expires"
            }
            lines.append(line)
        }
        lines.append(
            "  next  \(row.plan.action.rawValue) \(TimeText.local(row.plan.at, in: zone)): \(row.plan.sentence)")
        if let rotation = row.record?.rotation {
            lines.append("  rotation to version \(rotation.version): \(rotation.machine.phase.rawValue)")
            if let failure = rotation.lastError {
                lines.append(
                    "    try \(rotation.attempt), \(failure.step): \(failure.message) [\(failure.code.rawValue)]")
                if !failure.advice.isEmpty { lines.append("    \(failure.advice)") }
            }
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
        let expiresAt: Date?
        let promotedAt: Date?
        let retireAt: Date?
        let keyId: String?

        enum CodingKeys: CodingKey { case number, stage, issuedAt, expiresAt, promotedAt, retireAt, keyId }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(number, forKey: .number)
            try container.encode(stage, forKey: .stage)
            try container.encode(issuedAt, forKey: .issuedAt)
            try container.encode(expiresAt, forKey: .expiresAt)
            try container.encode(promotedAt, forKey: .promotedAt)
            try container.encode(retireAt, forKey: .retireAt)
            try container.encode(keyId, forKey: .keyId)
        }
    }

    struct Rotation: Encodable {
        let step: String
        let attempt: Int
        let lastError: String?
        let nextAttempt: Date?

        enum CodingKeys: CodingKey { case step, attempt, lastError, nextAttempt }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(step, forKey: .step)
            try container.encode(attempt, forKey: .attempt)
            try container.encode(lastError, forKey: .lastError)
            try container.encode(nextAttempt, forKey: .nextAttempt)
        }
    }

    struct Entry: Encodable {
        let secret: String
        let state: String
        let versions: [Version]
        let nextRotation: Date?
        let rotation: Rotation?
        let quarantined: String?
        let pausedSince: Date?

        init(_ row: ReportRow) {
            secret = row.plan.secret.text
            state = row.plan.state.rawValue
            versions = (row.record?.versions ?? []).map {
                Version(
                    number: $0.number, stage: $0.stage.rawValue, issuedAt: $0.issuedAt, expiresAt: $0.expiresAt,
                    promotedAt: $0.promotedAt, retireAt: $0.retireAt, keyId: $0.keyID)
            }
            nextRotation = row.plan.at
            rotation = row.record?.rotation.map {
                Rotation(
                    step: $0.lastError?.step ?? $0.machine.phase.rawValue, attempt: $0.attempt,
                    lastError: $0.lastError.map { "\($0.code.rawValue): \($0.message)" }, nextAttempt: $0.nextAttempt)
            }
            quarantined = row.record?.quarantine?.reason
            pausedSince = row.record?.pausedSince
        }

        enum CodingKeys: CodingKey { case secret, state, versions, nextRotation, rotation, quarantined, pausedSince }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(secret, forKey: .secret)
            try container.encode(state, forKey: .state)
            try container.encode(versions, forKey: .versions)
            try container.encode(nextRotation, forKey: .nextRotation)
            try container.encode(rotation, forKey: .rotation)
            try container.encode(quarantined, forKey: .quarantined)
            try container.encode(pausedSince, forKey: .pausedSince)
        }
    }

    let secrets: [Entry]
}
