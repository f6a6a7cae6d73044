package import Foundation

/// A condition that must hold before a key is retired. `explain` names the one that blocks.
package enum RetirementGate: String, Sendable, Codable, CaseIterable {
    /// The secret is neither paused nor quarantined.
    case secretReleased = "secret-released"
    /// A later version is current, and no rotation of the secret is under way.
    case successorPromoted = "successor-promoted"
    /// The grace is over.
    case gracePassed = "grace-passed"
    /// A step that failed is not tried again yet.
    case backoffPassed = "backoff-passed"
    /// Every required backend was read back just now and has the new value as current.
    case backendsConfirmed = "backends-confirmed"
    /// The issuer accepts the current key just now.
    case successorWorks = "successor-works"
    /// The issuer reports no use of the old key for as long as the policy asks.
    case unused
    /// The key was disabled for as long as the policy asks.
    case observed
}

/// How one gate stands.
package struct GateResult: Sendable, Equatable, Codable {
    package enum Verdict: String, Sendable, Codable {
        case open
        case blocked
        /// It has to be asked first, when its time comes.
        case notAsked = "not-asked"
    }

    package let gate: RetirementGate
    package let verdict: Verdict
    package let sentence: String
    /// When it opens by itself.
    package let opensAt: Date?

    package init(_ gate: RetirementGate, _ verdict: Verdict, _ sentence: String, opensAt: Date? = nil) {
        self.gate = gate
        self.verdict = verdict
        self.sentence = sentence
        self.opensAt = opensAt
    }
}

/// What is known when a version is judged. Facts that need a question to an outside system are `nil` until asked.
package struct RetirementFacts: Sendable {
    package let version: VersionRecord
    package let successor: VersionRecord?
    package let rotationInFlight: Bool
    package let now: Date
    /// What the policy asks for now.
    package let rule: RetirementRule
    package let reportsLastUse: Bool
    package let disables: Bool
    /// Whether the user declared the version compromised: it goes at once.
    package var skipsPatience: Bool { version.tainted }

    /// Why nothing is done for the secret, in one sentence; `nil` when it is neither paused nor quarantined.
    package var held: String?
    /// Required backends that do not have the new value as current; empty when all have.
    package var unconfirmedBackends: [String]?
    package var successorWorks: Bool?
    package var lastUse: LastUse?

    package enum LastUse: Sendable, Equatable {
        case never
        case at(Date)
    }

    package init(
        version: VersionRecord, successor: VersionRecord?, rotationInFlight: Bool, now: Date, rule: RetirementRule,
        reportsLastUse: Bool, disables: Bool
    ) {
        self.version = version
        self.successor = successor
        self.rotationInFlight = rotationInFlight
        self.now = now
        self.rule = rule
        self.reportsLastUse = reportsLastUse
        self.disables = disables
    }
}

extension RetirementGate {
    /// All gates in the order in which they are asked; the first that blocks speaks.
    package static func judge(_ facts: RetirementFacts) -> [GateResult] {
        allCases.compactMap { $0.judge(facts) }
    }

    /// How this gate stands; `nil` where it does not apply.
    package func judge(_ facts: RetirementFacts) -> GateResult? {
        switch self {
        case .secretReleased: facts.held.map { GateResult(.secretReleased, .blocked, $0) }
        case .successorPromoted: Self.successor(facts)
        case .gracePassed: Self.grace(facts)
        case .backoffPassed: Self.backoff(facts)
        case .backendsConfirmed: Self.backends(facts)
        case .successorWorks: Self.successorWorks(facts)
        case .unused: Self.unused(facts)
        case .observed: Self.observed(facts)
        }
    }

    private static func successor(_ facts: RetirementFacts) -> GateResult {
        guard let successor = facts.successor, successor.number > facts.version.number else {
            return GateResult(.successorPromoted, .blocked, "no later version is current")
        }
        guard !facts.rotationInFlight else {
            return GateResult(.successorPromoted, .blocked, "a rotation is under way; it is finished first")
        }
        return GateResult(.successorPromoted, .open, "version \(successor.number) is current")
    }

    private static func grace(_ facts: RetirementFacts) -> GateResult {
        guard let retireAt = facts.version.retireAt else {
            return GateResult(.gracePassed, .blocked, "its grace has not begun")
        }
        guard facts.now < retireAt else { return GateResult(.gracePassed, .open, "the grace is over") }
        return GateResult(.gracePassed, .blocked, "the grace is not over yet", opensAt: retireAt)
    }

    private static func backoff(_ facts: RetirementFacts) -> GateResult? {
        guard let failure = facts.version.retirement?.lastError, let next = facts.version.retirement?.nextAttempt,
            facts.now < next
        else { return nil }
        return GateResult(
            .backoffPassed, .blocked, "\(failure.step) failed and waits for its next try: \(failure.message)",
            opensAt: next)
    }

    private static func backends(_ facts: RetirementFacts) -> GateResult {
        guard let missing = facts.unconfirmedBackends else {
            return GateResult(.backendsConfirmed, .notAsked, "every required backend is read back before it is retired")
        }
        guard missing.isEmpty else {
            return GateResult(
                .backendsConfirmed, .blocked, "not every backend has the new value: \(missing.joined(separator: ", "))")
        }
        return GateResult(.backendsConfirmed, .open, "every required backend has the new value")
    }

    private static func successorWorks(_ facts: RetirementFacts) -> GateResult {
        switch facts.successorWorks {
        case nil: GateResult(.successorWorks, .notAsked, "the issuer is asked whether the current key works")
        case true?: GateResult(.successorWorks, .open, "the current key works")
        case false?: GateResult(.successorWorks, .blocked, "the issuer does not accept the current key")
        }
    }

    private static func unused(_ facts: RetirementFacts) -> GateResult? {
        guard let quiet = facts.rule.whenUnused, facts.reportsLastUse, !facts.skipsPatience,
            facts.version.stage != .disabled
        else { return nil }
        switch facts.lastUse {
        case nil:
            return GateResult(.unused, .notAsked, "the issuer is asked when the old key was last used")
        case .never?:
            return GateResult(.unused, .open, "the old key was never used")
        case .at(let date)?:
            let opensAt = date.addingTimeInterval(quiet.timeInterval)
            guard facts.now < opensAt else {
                return GateResult(.unused, .open, "the old key was not used for \(quiet)")
            }
            return GateResult(
                .unused, .blocked, "the old key was used within the last \(quiet)", opensAt: opensAt)
        }
    }

    private static func observed(_ facts: RetirementFacts) -> GateResult? {
        guard let observe = facts.rule.observe, facts.disables, !facts.skipsPatience else { return nil }
        guard facts.version.stage == .disabled, let disabledAt = facts.version.disabledAt else { return nil }
        let opensAt = disabledAt.addingTimeInterval(observe.timeInterval)
        guard facts.now < opensAt else { return GateResult(.observed, .open, "it was disabled for \(observe)") }
        return GateResult(.observed, .blocked, "it is disabled and still observed", opensAt: opensAt)
    }
}
