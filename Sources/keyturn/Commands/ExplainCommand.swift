import ArgumentParser
import Foundation
import KeyturnCore
import KeyturnStore

struct ExplainCommand: KeyturnCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract:
            "Shows the policy in force, where each value comes from, the next time and why, and the gate that blocks.",
        discussion: """
            Works beside a running daemon and asks no outside system.

            Example:
              keyturn explain payments/momento-cache
            """)

    @Argument(help: "The secret.")
    var secret: String

    @OptionGroup var options: GlobalOptions

    private struct Wire: Encodable {
        struct Setting: Encodable {
            let name: String
            let value: String
            let origin: String
        }
        struct Gate: Encodable {
            let version: Int
            let gate: String
            let verdict: String
            let sentence: String
            @Nullable var opensAt: Date?
        }
        let secret: String
        let settings: [Setting]
        let state: String
        let action: String
        @Nullable var at: Date?
        let why: [String]
        let gates: [Gate]
    }

    func execute() async throws {
        let composition = try Composition.load(options)
        let names = try await SecretNames.known([secret], composition, try composition.readJournal())
        let now = Date()
        guard let row = try await ReportRow.all(composition, at: now).first(where: { names.contains($0.plan.secret) })
        else { throw CommandFailure(.failed, "nothing is known of \(secret) yet") }
        let zone = row.policy?.rotation.timeZone ?? .gmt
        let wire = Wire(
            secret: row.plan.secret.text, settings: row.policy.map(settings) ?? [], state: row.plan.state.rawValue,
            action: row.plan.action.rawValue, at: row.plan.at, why: why(row, zone),
            gates: row.plan.retirements.flatMap { retirement in
                retirement.gates.map {
                    Wire.Gate(
                        version: retirement.version, gate: $0.gate.rawValue, verdict: $0.verdict.rawValue,
                        sentence: $0.sentence, opensAt: $0.opensAt)
                }
            })
        switch options.format {
        case .json: Terminal.print(try JSONText.pretty(wire))
        case .table: Terminal.print(text(wire, zone))
        }
    }

    private func settings(_ policy: Policy) -> [Wire.Setting] {
        func setting(_ name: String, _ value: String) -> Wire.Setting {
            let line = policy.origin.writtenAt[name]
            return Wire.Setting(
                name: name, value: value, origin: line.map { "\(policy.origin.file):\($0)" } ?? "default")
        }
        let rotation = policy.rotation
        var all = [
            setting("issuer", policy.issuer), setting("lifetime", policy.lifetime?.description ?? "never"),
        ]
        switch rotation.recurrence {
        case .every(let duration): all.append(setting("rotate.every", "\(duration)"))
        case .cron(let expression): all.append(setting("rotate.cron", "\(expression)"))
        }
        all.append(setting("rotate.timezone", TimeText.name(of: rotation.timeZone)))
        if let renewBefore = rotation.renewBefore { all.append(setting("rotate.renewBefore", "\(renewBefore)")) }
        if let jitter = rotation.jitter { all.append(setting("rotate.jitter", "\(jitter)")) }
        if let window = rotation.window {
            all.append(setting("rotate.window", "\(window), on conflict \(window.onConflict.rawValue)"))
        }
        all.append(setting("grace", "\(policy.grace)"))
        let backends = policy.backends.map { "\($0.name):\($0.target.path)\($0.required ? "" : " (best effort)")" }
        all.append(setting("backends", backends.joined(separator: ", ")))
        if !policy.checks.isEmpty { all.append(setting("verify", policy.checks.map(\.type).joined(separator: ", "))) }
        if let quiet = policy.retirement.whenUnused { all.append(setting("retire.whenUnused", "\(quiet)")) }
        if let observe = policy.retirement.observe { all.append(setting("retire.observe", "\(observe)")) }
        if !policy.retirement.health.isEmpty {
            all.append(setting("retire.health", policy.retirement.health.map(\.type).joined(separator: ", ")))
        }
        all.append(setting("retire.onCompromise", policy.retirement.onCompromise.rawValue))
        if !policy.after.isEmpty { all.append(setting("after", policy.after.map(\.text).joined(separator: ", "))) }
        return all
    }

    private func why(_ row: ReportRow, _ zone: TimeZone) -> [String] {
        var lines = [row.plan.sentence]
        guard let timing = row.plan.timing else { return lines }
        if let recurrence = timing.recurrence {
            lines.append("the schedule alone asks for \(TimeText.local(recurrence, in: zone))")
        }
        if let renewal = timing.renewal {
            lines.append("renewBefore asks for \(TimeText.local(renewal, in: zone)) at the latest")
        }
        if timing.jitter > 0, let jitter = PolicyDuration(seconds: timing.jitter) {
            lines.append("jitter moves it \(jitter) earlier")
        }
        if let last = timing.lastSafeStart {
            lines.append("the last safe start is \(TimeText.local(last, in: zone))")
        }
        return lines
    }

    private func text(_ wire: Wire, _ zone: TimeZone) -> String {
        var settings = Table("SETTING", "VALUE", "FROM")
        for setting in wire.settings { settings.add(setting.name, setting.value, setting.origin) }
        var lines = [wire.secret + "  " + wire.state]
        if !settings.isEmpty { lines += ["", settings.text(color: options.color)] }
        lines += ["", "next: \(wire.action) \(TimeText.local(wire.at, in: zone))"] + wire.why.map { "  \($0)" }
        for gate in wire.gates {
            let opens = gate.opensAt.map { ", opens \(TimeText.local($0, in: zone))" } ?? ""
            lines.append("version \(gate.version), gate \(gate.gate): \(gate.verdict)\(opens)  \(gate.sentence)")
        }
        return lines.joined(separator: "\n")
    }
}
