package import Foundation

/// A condition that must hold before a key is retired. `explain` names the one that blocks.
package enum RetirementGate: String, Sendable, Codable, CaseIterable {
    /// The secret is neither paused nor quarantined.
    case secretReleased = "secret-released"
    /// No backend was found ahead of the journal: the state is no old copy of itself.
    case stateNewest = "state-newest"
    /// Another version is current, and no rotation of the secret is under way.
    case successorPromoted = "successor-promoted"
    /// The grace is over.
    case gracePassed = "grace-passed"
    /// A step that failed is not tried again yet.
    case backoffPassed = "backoff-passed"
    /// Every required backend was read back just now and has the new value as current.
    case backendsConfirmed = "backends-confirmed"
    /// The issuer accepts the current key just now.
    case successorWorks = "successor-works"
    /// The clocks agree: this machine's, those of the systems that were asked, and the time that the journal has seen.
    case clockSane = "clock-sane"
    /// The issuer reports no use of the old key for as long as the policy asks.
    case unused
    /// The policy's health checks pass while the old key is switched off.
    case healthy
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
    package var now: Date
    /// What the policy asks for now.
    package let rule: RetirementRule
    package let reportsLastUse: Bool
    package let disables: Bool
    package var installation: InstallationState
    /// Whether the user declared the version compromised: it goes at once.
    package var skipsPatience: Bool { version.tainted }
    /// Whether it goes even though consumers may still need it: an outage is preferred to a leaked key that works.
    package var revokesFirst: Bool { version.tainted && rule.onCompromise == .revokeFirst }

    /// Why nothing is done for the secret, in one sentence; `nil` when it is neither paused nor quarantined.
    package var held: String?
    /// Required backends that do not have the new value as current; empty when all have.
    package var unconfirmedBackends: [String]?
    package var successorWorks: Bool?
    package var clock: Clock?
    package var lastUse: LastUse?
    package var health: Health?

    package enum Clock: Sendable, Equatable {
        case agrees
        /// In one sentence.
        case disagrees(String)

        package init(_ mark: ClockMark?) {
            self = mark?.disagreement.map { .disagrees($0.sentence) } ?? .agrees
        }
    }

    package enum Health: Sendable, Equatable {
        case passed
        /// In one sentence.
        case failed(String)
    }

    package enum LastUse: Sendable, Equatable {
        case never
        case at(Date)
    }

    package init(
        version: VersionRecord, successor: VersionRecord?, rotationInFlight: Bool, now: Date, rule: RetirementRule,
        reportsLastUse: Bool, disables: Bool, installation: InstallationState = InstallationState()
    ) {
        self.version = version
        self.successor = successor
        self.rotationInFlight = rotationInFlight
        self.now = now
        self.rule = rule
        self.reportsLastUse = reportsLastUse
        self.disables = disables
        self.installation = installation
        if installation.clock?.disagreement != nil { clock = Clock(installation.clock) }
    }

    /// Whether the policy's health checks watch over the version while it is switched off.
    package var isWatched: Bool {
        version.stage == .disabled && disables && !rule.health.isEmpty && !skipsPatience
    }

    /// `date` moved on by what the clock leapt since `start`: time that it shows and that did not pass.
    fileprivate func extended(_ date: Date, since start: Date?) -> Date {
        guard let start, let leapt = installation.clock?.leapt(since: start), leapt > 0 else { return date }
        return date.addingTimeInterval(leapt)
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
        case .stateNewest: facts.installation.freeze.map { GateResult(.stateNewest, .blocked, $0) }
        case .successorPromoted: Self.successor(facts)
        case .gracePassed: Self.grace(facts)
        case .backoffPassed: Self.backoff(facts)
        case .backendsConfirmed: facts.revokesFirst ? skipped : Self.backends(facts)
        case .successorWorks: facts.revokesFirst ? skipped : Self.successorWorks(facts)
        case .clockSane: Self.clock(facts)
        case .unused: Self.unused(facts)
        case .healthy: Self.health(facts)
        case .observed: Self.observed(facts)
        }
    }

    /// How a gate stands that a compromised key does not wait for.
    private var skipped: GateResult {
        GateResult(self, .open, "not waited for: the version is compromised, and the policy says revoke-first")
    }

    private static func successor(_ facts: RetirementFacts) -> GateResult {
        // By stage, not by number: after a rollback the later version is the one that goes.
        guard let successor = facts.successor, successor.number != facts.version.number else {
            return GateResult(.successorPromoted, .blocked, "no other version is current")
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
        let end = facts.extended(retireAt, since: facts.version.graceBeganAt)
        guard facts.now < end else { return GateResult(.gracePassed, .open, "the grace is over") }
        return GateResult(
            .gracePassed, .blocked,
            end == retireAt ? "the grace is not over yet" : "the grace is not over yet: the clock leapt during it",
            opensAt: end)
    }

    private static func backoff(_ facts: RetirementFacts) -> GateResult? {
        guard let failure = facts.version.retirement?.lastError, let next = facts.version.retirement?.nextAttempt,
            facts.now < next, !failure.isAhead(of: facts.now)
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

    /// What was declared compromised goes whatever the time is.
    private static func clock(_ facts: RetirementFacts) -> GateResult? {
        guard !facts.skipsPatience else { return nil }
        return switch facts.clock {
        case nil: GateResult(.clockSane, .notAsked, "the clocks are compared once the others stand open")
        case .agrees?: GateResult(.clockSane, .open, "the clocks agree")
        case .disagrees(let sentence)?: GateResult(.clockSane, .blocked, sentence)
        }
    }

    private static func health(_ facts: RetirementFacts) -> GateResult? {
        if let undone = facts.version.retirement?.undone, facts.version.stage == .previous, !facts.skipsPatience {
            return GateResult(
                .healthy, .blocked,
                "it was switched on again: \(undone); `keyturn resume` lets it be tried once more")
        }
        guard facts.isWatched else { return nil }
        return switch facts.health {
        case nil: GateResult(.healthy, .notAsked, "the health checks are run while it is switched off")
        case .passed?: GateResult(.healthy, .open, "the health checks pass")
        case .failed(let sentence)?: GateResult(.healthy, .blocked, sentence)
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
        let opensAt = facts.extended(disabledAt.addingTimeInterval(observe.timeInterval), since: disabledAt)
        guard facts.now < opensAt else { return GateResult(.observed, .open, "it was disabled for \(observe)") }
        return GateResult(.observed, .blocked, "it is disabled and still observed", opensAt: opensAt)
    }
}
