package import Foundation

/// A step that was intended and whose answer is not recorded: an unknown outcome, unless its process is still at it.
package struct UnansweredStep: Sendable, Codable, Equatable {
    /// ``RotationStep/text``.
    package let step: String
    package let version: Int
    /// When it was intended.
    package let since: Date
    /// What is known of it once its process is gone, or its answer is lost for good; `nil` until somebody looked.
    package var found: String?

    package init(step: RotationStep, version: Int, since: Date) {
        self.step = step.text
        self.version = version
        self.since = since
    }
}

/// How an unknown outcome ended.
package struct ResolvedStep: Sendable, Codable, Equatable {
    package enum Outcome: String, Sendable, Codable, CaseIterable {
        /// The issuer never made the key.
        case neverMade = "never-made"
        /// The key was made, its text is lost, and it was revoked.
        case orphanRevoked = "orphan-revoked"
        /// Nobody can tell; the key is reported.
        case possiblyOrphaned = "possibly-orphaned"
        /// A person said that the key is another's.
        case settled
        /// The step was taken again and answered: repeating it is harmless.
        case repeated
        /// The step is not tried any more: its backend is best effort.
        case givenUp = "given-up"
        /// The step is not wanted any more.
        case dropped
    }

    package let at: Date
    package let step: String
    package let version: Int
    package let outcome: Outcome
    /// What the system said, in one sentence.
    package let found: String
    /// What was done about it, in one sentence.
    package let action: String

    package init(at: Date, step: String, version: Int, outcome: Outcome, found: String, action: String) {
        self.at = at
        self.step = step
        self.version = version
        self.outcome = outcome
        self.found = found
        self.action = action
    }
}

extension SecretRecord {
    /// Notes that steps are about to be taken. One that is unknown already stays as it was found.
    package mutating func intend(_ steps: [RotationStep], version: Int, at now: Date) {
        for step in steps {
            let known = unanswered.first { $0.step == step.text && $0.version == version }
            if known?.found != nil { continue }
            unanswered.removeAll { $0 == known }
            unanswered.append(UnansweredStep(step: step, version: version, since: now))
        }
    }

    /// Takes a step whose answer is in from the list, and gives it.
    package mutating func answer(_ step: String, version: Int) -> UnansweredStep? {
        guard let index = unanswered.firstIndex(where: { $0.step == step && $0.version == version }) else { return nil }
        return unanswered.remove(at: index)
    }
}
