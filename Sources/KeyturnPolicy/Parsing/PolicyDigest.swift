import Crypto
import Foundation
import KeyturnCore

/// Digests of what a policy means, whatever it looks like.
struct PolicyDigest {
    let whole: String
    let issue: String
    let schedule: String

    init(
        issuer: String, issue: Parameters, lifetime: PolicyDuration?, rotation: RotationSchedule, grace: PolicyDuration,
        backends: [PolicyBackend], checks: [PolicyCheck], retirement: RetirementRule, after: [SecretName]
    ) {
        let end = lifetime.map { "\($0.seconds)" } ?? "never"
        let asked = [issuer, Self.text(.map(issue)), end]
        let recurrence: String =
            switch rotation.recurrence {
            case .every(let duration): "every \(duration.seconds)"
            case .cron(let expression): "cron \(expression.text)"
            }
        let planned = [
            recurrence, rotation.timeZone.identifier, "\(rotation.renewBefore?.seconds ?? 0)",
            "\(rotation.jitter?.seconds ?? 0)",
            rotation.window.map { "\($0) \($0.onConflict.rawValue)" } ?? "", end,
        ]
        var all = asked + planned + ["\(grace.seconds)"]
        for entry in backends {
            all += [
                entry.name, entry.target.path, Self.text(.map(entry.target.parameters)), entry.template?.text ?? "",
                "\(entry.required) \(entry.overwrite)",
            ]
        }
        for check in checks { all += [check.type, Self.text(.map(check.parameters))] }
        all.append(
            "\(retirement.whenUnused?.seconds ?? 0) \(retirement.observe?.seconds ?? 0) \(retirement.onCompromise.rawValue)"
        )
        for check in retirement.health { all += ["health", check.type, Self.text(.map(check.parameters))] }
        all += after.map(\.text)
        whole = Self.digest(all)
        self.issue = Self.digest(asked)
        schedule = Self.digest(planned)
    }

    /// Each part with its length, so that no two lists share a form.
    private static func digest(_ parts: [String]) -> String {
        let text = parts.map { "\($0.utf8.count):\($0)" }.joined()
        return SHA256.hash(data: Data(text.utf8)).hexadecimal
    }

    private static func text(_ value: ParameterValue) -> String {
        switch value {
        case .string(let text): "s\(text.utf8.count):\(text)"
        case .integer(let number): "i\(number);"
        case .decimal(let number): "d\(number);"
        case .boolean(let flag): "b\(flag);"
        case .null: "n;"
        case .secret(let reference): "r\(reference)"
        case .list(let items): "l\(items.map(text).joined())e"
        case .map(let members):
            "m\(members.sorted { $0.key < $1.key }.map { text(.string($0.key)) + text($0.value) }.joined())e"
        }
    }
}
