package import Foundation

/// What the planner is told about a secret.
package struct SecretFacts: Sendable {
    /// `nil` when no policy names the secret any more.
    package let policy: Policy?
    /// `nil` when the journal does not know it yet.
    package let record: SecretRecord?
    /// Of the policy's issuer.
    package let traits: IssuerTraits?
    /// Secrets named by `after` that are due or under way.
    package let busyPredecessors: [SecretName]
    package let installation: InstallationState
    /// Pauses that hold for more than one secret.
    package let switches: [PauseSwitch]
    /// How many rotations may begin in an hour, when that is limited.
    package let rotationsPerHour: Int?

    package init(
        policy: Policy?, record: SecretRecord?, traits: IssuerTraits?, busyPredecessors: [SecretName] = [],
        installation: InstallationState = InstallationState(), switches: [PauseSwitch] = [],
        rotationsPerHour: Int? = nil
    ) {
        self.switches = switches
        self.rotationsPerHour = rotationsPerHour
        self.policy = policy
        self.record = record
        self.traits = traits
        self.busyPredecessors = busyPredecessors
        self.installation = installation
    }
}

/// Judges what is to be done for a secret, and when. It asks nobody and changes nothing.
package enum Planner {
    package static func plan(_ secret: SecretName, _ facts: SecretFacts, at now: Date) -> SecretPlan {
        let record = facts.record ?? SecretRecord(name: secret)
        let timing: RotationTiming? =
            if let policy = facts.policy, let current = record.current {
                RotationTiming.next(policy: policy, current: current, schedule: record.schedule)
            } else { nil }
        let judged = rotation(facts, record, timing, now)
        let retirements = record.leaving.map { version in
            retirement(of: version, facts, record, held: held(record, facts, through: [version.issuer])?.sentence, now)
        }
        return SecretPlan(
            secret: secret, state: state(facts, record, timing, judged, now), action: judged.action, at: judged.at,
            reason: judged.reason, sentence: judged.sentence, isBlocked: judged.isBlocked, timing: timing,
            retirements: retirements,
            nextLook: nextLook(record, timing, judged, retirements, now))
    }

    /// The planned rotation before it is dressed up as a plan.
    struct Judgement {
        let action: SecretPlan.Action
        let at: Date?
        let reason: PlanReason
        let sentence: String
        var isBlocked = false
    }

    /// The rules, first match speaks.
    private static func rotation(
        _ facts: SecretFacts, _ record: SecretRecord, _ timing: RotationTiming?, _ now: Date
    ) -> Judgement {
        if let held = held(record, facts, through: record.issuers(under: facts.policy)) { return held }
        if let rotation = record.rotation { return underWay(rotation, now) }
        guard facts.policy != nil else {
            return Judgement(
                action: .none, at: nil, reason: .noPolicy,
                sentence: "no policy names it any more; its key stays as it is")
        }
        // First: a rotation would stop at a value that it does not know.
        if record.repairSince != nil, let current = record.current {
            return Judgement(
                action: .retry, at: now, reason: .repair,
                sentence: "version \(current.number) is put back where a backend holds another value")
        }
        let wanted = wantedRotation(facts, record, timing, now)
        if wanted.action != .none, !wanted.isBlocked, let at = wanted.at, at <= now { return wanted }
        return distribution(facts, record, now) ?? wanted
    }

    /// The current version goes to places that the policy names and that do not have it: a backend that joined the policy,
    /// or all of them when the key was made elsewhere.
    private static func distribution(_ facts: SecretFacts, _ record: SecretRecord, _ now: Date) -> Judgement? {
        guard let current = record.current, current.found == nil, let places = facts.policy?.places(lacking: current),
            !places.isEmpty
        else {
            return nil
        }
        let names = places.map { "'\($0.name)'" }.joined(separator: ", ")
        return Judgement(
            action: .retry, at: now, reason: .newBackend,
            sentence: "version \(current.number) is not in \(names) yet and is put there")
    }

    private static func wantedRotation(
        _ facts: SecretFacts, _ record: SecretRecord, _ timing: RotationTiming?, _ now: Date
    ) -> Judgement {
        if let request = record.request, request.rollsBack {
            return Judgement(
                action: .rollBack, at: min(request.at, now), reason: .rollback,
                sentence: "the version before the current one is to be current again")
        }
        guard record.current != nil else {
            return gated(
                Judgement(action: .issue, at: now, reason: .new, sentence: "there is no version yet"), facts, record,
                now)
        }
        if let request = record.request {
            let reason: PlanReason = request.compromised ? .compromised : .requested
            return gated(
                Judgement(
                    action: .rotate, at: min(request.at, now), reason: reason,
                    sentence: request.compromised ? "the key was declared compromised" : "a rotation was asked for"),
                facts, record, now)
        }
        guard let timing else {
            return Judgement(action: .none, at: nil, reason: .never, sentence: "nothing makes it rotate by itself")
        }
        return gated(
            Judgement(action: .rotate, at: timing.at, reason: timing.reason, sentence: timing.sentence),
            facts, record, now)
    }

    /// Why nothing at all is done for a secret, when a person has to release it first.
    ///
    /// - Parameter issuers: those that the work would go through.
    private static func held(
        _ record: SecretRecord, _ facts: SecretFacts, through issuers: Set<String>
    ) -> Judgement? {
        if let pause = facts.switches.stopping(issuers) {
            return Judgement(action: .none, at: nil, reason: .paused, sentence: pause.sentence)
        }
        if let quarantine = record.quarantine, !record.isReleasedByRollback {
            return Judgement(
                action: .none, at: nil, reason: .quarantined,
                sentence: "quarantined: \(quarantine.reason); mend it, then `keyturn resume \(record.name)`")
        }
        guard record.pausedSince != nil else { return nil }
        return Judgement(
            action: .none, at: nil, reason: .paused, sentence: "paused; `keyturn resume \(record.name)` goes on")
    }

    private static func underWay(_ rotation: RotationRecord, _ now: Date) -> Judgement {
        // A failure that lies ahead was noted by a clock that has gone back since.
        guard let failure = rotation.lastError, !failure.isAhead(of: now) else {
            let what = rotation.isRollback ? "the way back to version" : "version"
            return Judgement(
                action: .retry, at: rotation.lastError == nil ? rotation.nextAttempt ?? now : now, reason: .inFlight,
                sentence: "\(what) \(rotation.version) is \(rotation.machine.phase.rawValue)")
        }
        return Judgement(
            action: .retry, at: rotation.nextAttempt ?? now, reason: .retry,
            sentence: "\(failure.step) of version \(rotation.version) failed: \(failure.message)")
    }

    /// What must hold before a rotation begins, whoever asks for it.
    private static func gated(
        _ wanted: Judgement, _ facts: SecretFacts, _ record: SecretRecord, _ now: Date
    ) -> Judgement {
        if let limit = facts.traits?.keyLimit {
            let existing = record.versions.filter { $0.stage.mayExistAtIssuer && !$0.isRevoked }
            // What is revoked first makes room.
            let makesRoom =
                record.request?.compromised == true && facts.policy?.retirement.onCompromise == .revokeFirst
            if existing.count >= limit, !makesRoom {
                let frees = record.leaving.compactMap(\.retireAt).min()
                return Judgement(
                    action: wanted.action, at: [wanted.at, frees].compactMap { $0 }.max(), reason: .keyLimit,
                    sentence:
                        "the issuer allows \(limit) keys and \(existing.count) exist; an old one is retired first",
                    isBlocked: true)
            }
        }
        if !facts.busyPredecessors.isEmpty, let at = wanted.at, at <= now {
            return Judgement(
                action: wanted.action, at: at, reason: .after,
                sentence: "waits for \(facts.busyPredecessors.map(\.text).joined(separator: ", "))", isBlocked: true)
        }
        if let limit = facts.rotationsPerHour, record.request == nil, let waiting = record.waiting,
            waiting.limit == limit, waiting.until > now, let at = wanted.at, at <= now
        {
            return Judgement(
                action: wanted.action, at: waiting.until, reason: .rotationLimit,
                sentence:
                    "waits for its turn: \(limit) rotations an hour may begin, those whose keys expire first before others",
                isBlocked: true)
        }
        return wanted
    }

    private static func retirement(
        of version: VersionRecord, _ facts: SecretFacts, _ record: SecretRecord, held: String?, _ now: Date
    ) -> PlannedRetirement {
        var known = RetirementFacts(
            version: version, successor: record.current, rotationInFlight: record.rotation != nil, now: now,
            rule: facts.policy?.retirement ?? RetirementRule(),
            reportsLastUse: facts.traits?.reportsLastUse ?? false, disables: facts.traits?.disables ?? false,
            installation: facts.installation)
        known.held = held
        let gates = RetirementGate.judge(known)
        // Whether the clocks agree is asked again each time.
        let blocked = gates.filter { $0.verdict == .blocked && $0.gate != .clockSane }
        var at: Date? =
            blocked.contains { $0.opensAt == nil } ? nil : blocked.compactMap(\.opensAt).max() ?? now
        if known.isWatched, let opensAt = at, blocked.allSatisfy({ $0.gate == .observed }) {
            let check = version.retirement?.nextHealthCheck ?? now
            at = min(opensAt, check, now.addingTimeInterval(known.rule.healthInterval))
        }
        return PlannedRetirement(version: version.number, at: at, gates: gates)
    }

    private static func state(
        _ facts: SecretFacts, _ record: SecretRecord, _ timing: RotationTiming?, _ judged: Judgement, _ now: Date
    ) -> SecretPlan.State {
        if let expiresAt = record.current?.expiresAt, expiresAt <= now { return .expired }
        if record.quarantine != nil || record.rotation?.lastError != nil { return .failing }
        guard let current = record.current else { return .new }
        if facts.policy != nil, let timing, now >= timing.overdueAt { return .overdue }
        if judged.action != .none, !judged.isBlocked, let at = judged.at, at <= now { return .due }
        return current.expiresAt == nil ? .neverExpires : .ok
    }

    private static func nextLook(
        _ record: SecretRecord, _ timing: RotationTiming?, _ judged: Judgement, _ retirements: [PlannedRetirement],
        _ now: Date
    ) -> Date? {
        // Overdue and expired are told when they come true, also for a secret that is held.
        let tellings = [timing?.overdueAt, record.current?.expiresAt].compactMap { $0 }.filter { $0 > now }
        // What is held up by others is looked at each minute, and sooner when a person waits for it.
        let pause: TimeInterval = record.request == nil ? 60 : 5
        let rotation =
            judged.isBlocked && judged.reason != .rotationLimit
            ? judged.at.map { max($0, now.addingTimeInterval(pause)) } : judged.at
        return (tellings + ([rotation] + retirements.map(\.at)).compactMap { $0 }).min()
    }
}

extension SecretRecord {
    /// The issuers that a rotation of it goes through.
    package func issuers(under policy: Policy?) -> Set<String> {
        let own = rotation.map { [version($0.version)?.issuer, $0.issueIntent?.issuer] } ?? []
        return Set((own + [policy?.issuer ?? current?.issuer]).compactMap { $0 })
    }

    /// Whether a rollback that was asked for since it was quarantined lets it go on: that is a person's decision.
    package var isReleasedByRollback: Bool {
        guard let quarantine, let request, request.rollsBack else { return false }
        return quarantine.since <= request.at
    }
}

extension RotationTiming {
    /// The time in words, for people.
    package var sentence: String {
        var text =
            reason == .renewBeforeExpiry ? "the key is renewed before it expires" : "the schedule asks for it"
        if isAfterRollback { text += "; it was rolled back to, so there is some time before that" }
        if isSpread { text += "; the schedule is new, so its start is spread out" }
        if waitsForWindow { text += "; it waits for its window" }
        if overridesWindow { text += "; outside its window, which opens too late" }
        return text
    }
}
