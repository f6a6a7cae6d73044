import Foundation
import KeyturnCore

/// A step whose answer is not known, as people are told of it.
struct UnknownOutcome {
    let step: UnansweredStep
    /// Who is asked, such as `the issuer`.
    let asked: String
    /// When; `nil` when nobody asks before a person has released the secret, or where the next pass does it.
    let askedAt: Date?
    /// The command that releases a secret which is held.
    let release: String?

    func sentence(_ time: (Date) -> String) -> String {
        let ends =
            if let release { "\(asked) is asked after `\(release)`" } else if let askedAt {
                "\(asked) is asked at \(time(askedAt))"
            } else { "\(asked) is asked at the next pass" }
        return "the answer to `\(step.step)` of version \(step.version) is not known; \(ends)"
    }
}

extension ReportRow {
    /// Steps that were intended and whose answers are not recorded.
    var unknown: [UnknownOutcome] {
        guard let record else { return [] }
        return record.unanswered.map { step in
            let backend = step.step.split(separator: ":", maxSplits: 1).dropFirst().first
            let next =
                record.rotation?.version == step.version
                ? record.rotation?.nextAttempt : record.version(step.version)?.retirement?.nextAttempt
            return UnknownOutcome(
                step: step, asked: backend.map { "backend '\($0)'" } ?? "the issuer", askedAt: isHeld ? nil : next,
                release: isHeld ? "keyturn resume \(plan.secret)" : nil)
        }
    }
}
