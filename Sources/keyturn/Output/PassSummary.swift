import Foundation
import KeyturnCore
import KeyturnEngine

/// What a pass did, in words and as an exit status.
struct PassSummary {
    let outcomes: [WorkOutcome]
    /// Of what was declared compromised.
    var exposures: [Exposure] = []
    /// Pauses that hold for more than one secret.
    var switches: [PauseSwitch] = []

    private struct Wire: Encodable {
        struct Entry: Encodable {
            let secret: String
            let result: String
            let retired: Int
            let quarantined: Bool
            @Nullable var step: String?
            @Nullable var code: String?
            @Nullable var message: String?
            @Nullable var advice: String?
        }
        let secrets: [Entry]
        let compromised: [ExposureWire]
        let paused: [PauseWire]
    }

    func show(_ options: GlobalOptions) throws {
        switch options.format {
        case .json:
            Terminal.print(
                try JSONText.pretty(
                    Wire(
                        secrets: outcomes.map(entry), compromised: exposures.map(ExposureWire.init),
                        paused: switches.map(PauseWire.init))))
        case .table:
            let worth = outcomes.filter { $0.retired > 0 || $0.quarantine != nil || !$0.foundNothingDue }
            for outcome in worth { Terminal.print(line(outcome, color: options.color)) }
            if worth.isEmpty { Terminal.tell("nothing was due") }
            for pause in switches { Terminal.tell(pause.sentence) }
            if !exposures.isEmpty {
                Terminal.print("\nwhat held the compromised keys:")
                Terminal.print(ExposureWire.table(exposures).text(color: options.color))
            }
        }
    }

    /// Quarantined goes before failed; so does a stop because of failures, which needs a person as well.
    var status: ExitStatus {
        if switches.contains(where: { $0.cause == .failures }) { return .quarantined }
        if outcomes.contains(where: { $0.quarantine != nil }) { return .quarantined }
        let failed = outcomes.contains { outcome in
            switch outcome.result {
            case .failed, .journalFailed: true
            case .nothingDue, .rotated, .rolledBack, .leasedElsewhere: false
            }
        }
        return failed ? .failed : .done
    }

    private func line(_ outcome: WorkOutcome, color: Bool) -> String {
        var parts = [word(outcome)]
        if outcome.retired > 0 { parts.append("retired \(outcome.retired)") }
        if let failure = failure(outcome), !failure.advice.isEmpty { parts.append(failure.advice) }
        if outcome.quarantine != nil { parts.append("mend it, then `keyturn resume \(outcome.secret)`") }
        let text = "\(outcome.secret): \(parts.joined(separator: "; "))"
        return color && failure(outcome) != nil ? Color.bad.paint(text) : text
    }

    private func word(_ outcome: WorkOutcome) -> String {
        if let quarantine = outcome.quarantine { return "quarantined: \(quarantine.reason)" }
        return switch outcome.result {
        case .nothingDue: outcome.retired > 0 ? "no rotation due" : "nothing due"
        case .rotated: "rotated"
        case .rolledBack: "rolled back"
        case .failed(let failure): "\(failure.step) failed: \(failure.message)"
        case .leasedElsewhere: "another process works on it"
        case .journalFailed(let error): "\(error)"
        }
    }

    private func failure(_ outcome: WorkOutcome) -> StepFailure? {
        if case .failed(let failure) = outcome.result { failure } else { nil }
    }

    private func entry(_ outcome: WorkOutcome) -> Wire.Entry {
        let failure = failure(outcome)
        let result =
            switch outcome.result {
            case .nothingDue: "nothing-due"
            case .rotated: "rotated"
            case .rolledBack: "rolled-back"
            case .failed, .journalFailed: "failed"
            case .leasedElsewhere: "leased-elsewhere"
            }
        return Wire.Entry(
            secret: outcome.secret.text, result: result, retired: outcome.retired,
            quarantined: outcome.quarantine != nil,
            step: failure?.step, code: failure?.code.rawValue, message: failure?.message, advice: failure?.advice)
    }
}
