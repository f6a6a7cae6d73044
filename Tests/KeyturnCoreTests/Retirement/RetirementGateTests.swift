import Foundation
import KeyturnCore
import TestSupport
import Testing

@Suite("Gates of a retirement")
struct RetirementGateTests {
    private let now = Date(timeIntervalSince1970: 1_800_000_000)

    private func facts(
        stage: Stage = .previous, retireAt: Date? = Date(timeIntervalSince1970: 1_799_999_999), tainted: Bool = false,
        disabledAt: Date? = nil, successor: Int? = 2, inFlight: Bool = false, whenUnused: String? = nil,
        observe: String? = nil, reportsLastUse: Bool = true, disables: Bool = true, unconfirmed: [String]? = [],
        works: Bool? = true, clock: RetirementFacts.Clock? = .agrees, lastUse: RetirementFacts.LastUse? = .never,
        health: RetirementFacts.Health? = nil, checks: [PolicyCheck] = [],
        installation: InstallationState = InstallationState(),
        retirement: VersionRecord.RetirementProgress? = nil
    ) throws -> RetirementFacts {
        var version = VersionRecord.sample(1, stage, from: now.addingTimeInterval(-864_000))
        version.retireAt = retireAt
        version.tainted = tainted
        version.disabledAt = disabledAt
        version.retirement = retirement
        var facts = RetirementFacts(
            version: version, successor: successor.map { VersionRecord.sample($0, from: now) },
            rotationInFlight: inFlight, now: now,
            rule: RetirementRule(
                whenUnused: try whenUnused.map { try PolicyDuration($0) },
                observe: try observe.map { try PolicyDuration($0) }, health: checks),
            reportsLastUse: reportsLastUse, disables: disables, installation: installation)
        facts.unconfirmedBackends = unconfirmed
        facts.successorWorks = works
        facts.clock = clock
        facts.lastUse = lastUse
        facts.health = health
        return facts
    }

    /// The gates that do not stand open, in order, such as `grace-passed blocked`.
    private func closed(_ facts: RetirementFacts) -> [String] {
        RetirementGate.judge(facts).filter { $0.verdict != .open }.map { "\($0.gate.rawValue) \($0.verdict.rawValue)" }
    }

    @Test func allStandOpenWhenAllHolds() throws {
        let gates = RetirementGate.judge(try facts(whenUnused: "6h"))
        #expect(
            gates.map(\.gate) == [
                .successorPromoted, .gracePassed, .backendsConfirmed, .successorWorks, .clockSane, .unused,
            ])
        #expect(gates.allSatisfy { $0.verdict == .open && $0.opensAt == nil })
    }

    @Test func aHeldSecretKeepsItsOldKeys() throws {
        var facts = try facts()
        facts.held = "paused"
        let first = try #require(RetirementGate.judge(facts).first)
        #expect(first == GateResult(.secretReleased, .blocked, "paused"))
        #expect(closed(facts) == ["secret-released blocked"])
    }

    @Test func whatIsRevokedFirstWaitsForNoConsumer() throws {
        for onCompromise in RetirementRule.OnCompromise.allCases {
            for tainted in [false, true] {
                let usual = try facts(tainted: tainted)
                var facts = RetirementFacts(
                    version: usual.version, successor: usual.successor, rotationInFlight: false, now: now,
                    rule: RetirementRule(onCompromise: onCompromise), reportsLastUse: true, disables: true)
                facts.unconfirmedBackends = ["vault"]
                facts.successorWorks = false
                let isSkipped = onCompromise == .revokeFirst && tainted
                #expect(closed(facts).isEmpty == isSkipped, "\(onCompromise) \(tainted)")
                // Nothing but a pause holds it.
                facts.held = "paused"
                #expect(closed(facts).first == "secret-released blocked")
            }
        }
    }

    @Test func theOrderIsTheOneInWhichTheyAreAsked() {
        #expect(
            RetirementGate.allCases.map(\.rawValue) == [
                "secret-released", "state-newest", "successor-promoted", "grace-passed", "backoff-passed",
                "backends-confirmed", "successor-works", "clock-sane", "unused", "healthy", "observed",
            ])
    }

    @Test func eachGateAloneBlocks() throws {
        let hour = now.addingTimeInterval(3_600)
        var waiting = VersionRecord.RetirementProgress()
        waiting.nextAttempt = hour
        waiting.lastError = StepFailure(step: "revoke", code: .timedOut, message: "no answer", advice: "", at: now)
        var undone = VersionRecord.RetirementProgress()
        undone.undone = "it failed"
        let check = PolicyCheck(type: "command")
        let restored = InstallationState(
            restored: .init(since: now, secret: try SecretName("team/key"), sentence: "backend 'a' is ahead"))
        let cases: [(RetirementFacts, String, String, Date?)] = [
            (try facts(successor: nil), "successor-promoted blocked", "no other version is current", nil),
            (try facts(successor: 1), "successor-promoted blocked", "no other version is current", nil),
            (
                try facts(inFlight: true), "successor-promoted blocked",
                "a rotation is under way; it is finished first",
                nil
            ),
            (try facts(retireAt: nil), "grace-passed blocked", "its grace has not begun", nil),
            (try facts(retireAt: hour), "grace-passed blocked", "the grace is not over yet", hour),
            (
                try facts(retirement: waiting), "backoff-passed blocked",
                "revoke failed and waits for its next try: no answer", hour
            ),
            (
                try facts(unconfirmed: ["vault", "aws"]), "backends-confirmed blocked",
                "not every backend has the new value: vault, aws", nil
            ),
            (
                try facts(unconfirmed: nil), "backends-confirmed not-asked",
                "every required backend is read back before it is retired", nil
            ),
            (
                try facts(works: false), "successor-works blocked", "the issuer does not accept the current key", nil
            ),
            (
                try facts(works: nil), "successor-works not-asked", "the issuer is asked whether the current key works",
                nil
            ),
            (
                try facts(clock: .disagrees("the clock leapt")), "clock-sane blocked", "the clock leapt", nil
            ),
            (
                try facts(clock: nil), "clock-sane not-asked", "the clocks are compared once the others stand open", nil
            ),
            (
                try facts(
                    stage: .disabled, disabledAt: now.addingTimeInterval(-864_00), observe: "1d", checks: [check]),
                "healthy not-asked", "the health checks are run while it is switched off", nil
            ),
            (
                try facts(
                    stage: .disabled, disabledAt: now.addingTimeInterval(-864_00), observe: "1d",
                    health: .failed("it fails"), checks: [check]),
                "healthy blocked", "it fails", nil
            ),
            (
                try facts(checks: [check], retirement: undone), "healthy blocked",
                "it was switched on again: it failed; `keyturn resume` lets it be tried once more", nil
            ),
            (
                try facts(installation: restored), "state-newest blocked",
                "backend 'a' is ahead: the state was restored from a backup or copied; `keyturn adopt --restored` accepts it",
                nil
            ),
            (
                try facts(whenUnused: "6h", lastUse: .at(now.addingTimeInterval(-5 * 3_600))), "unused blocked",
                "the old key was used within the last 6h", hour
            ),
            (
                try facts(whenUnused: "6h", lastUse: nil), "unused not-asked",
                "the issuer is asked when the old key was last used", nil
            ),
            (
                try facts(stage: .disabled, disabledAt: now.addingTimeInterval(-23 * 3_600), observe: "1d"),
                "observed blocked", "it is disabled and still observed", hour
            ),
        ]
        for (facts, gate, sentence, opensAt) in cases {
            #expect(closed(facts) == [gate])
            let result = try #require(RetirementGate.judge(facts).first { $0.verdict != .open })
            #expect(result.sentence == sentence)
            #expect(result.opensAt == opensAt, "\(gate)")
        }
    }

    @Test func theLimitsThemselvesAreOpen() throws {
        var due = VersionRecord.RetirementProgress()
        due.nextAttempt = now
        due.lastError = StepFailure(step: "revoke", code: .timedOut, message: "no answer", advice: "", at: now)
        for facts in [
            try facts(retireAt: now), try facts(retirement: due),
            try facts(whenUnused: "6h", lastUse: .at(now.addingTimeInterval(-6 * 3_600))),
            try facts(stage: .disabled, disabledAt: now.addingTimeInterval(-86_400), observe: "1d"),
        ] {
            #expect(closed(facts).isEmpty)
        }
    }

    @Test func patienceIsAskedOnlyWhereItCanBeHad() throws {
        let recently = RetirementFacts.LastUse.at(now)
        // The issuer does not tell, or can't disable.
        #expect(closed(try facts(whenUnused: "6h", reportsLastUse: false, lastUse: recently)).isEmpty)
        #expect(closed(try facts(stage: .disabled, disabledAt: now, observe: "1d", disables: false)).isEmpty)
        // Nothing is asked for.
        #expect(closed(try facts(lastUse: recently)).isEmpty)
        #expect(closed(try facts(stage: .disabled, disabledAt: now)).isEmpty)
        // A disabled key can't be used any more.
        #expect(closed(try facts(stage: .disabled, whenUnused: "6h", lastUse: recently)).isEmpty)
    }

    @Test func aCompromisedKeyHasNoPatience() throws {
        let recently = RetirementFacts.LastUse.at(now)
        #expect(closed(try facts(tainted: true, whenUnused: "6h", lastUse: recently)).isEmpty)
        #expect(closed(try facts(stage: .disabled, tainted: true, disabledAt: now, observe: "1d")).isEmpty)
        // All that proves the new key holds for it too.
        #expect(closed(try facts(tainted: true, unconfirmed: ["vault"])) == ["backends-confirmed blocked"])
        #expect(closed(try facts(tainted: true, works: false)) == ["successor-works blocked"])
    }

    /// Every gate against every answer that it can get: open only where it should be.
    @Test func theTruthTable() throws {
        let past = now.addingTimeInterval(-90_000)
        let check = [PolicyCheck(type: "command")]
        let recent = RetirementFacts.LastUse.at(now.addingTimeInterval(-60))
        let clocks: [RetirementFacts.Clock?] = [nil, .agrees, .disagrees("no")]
        let healths: [RetirementFacts.Health?] = [nil, .passed, .failed("no")]
        let uses: [RetirementFacts.LastUse?] = [nil, .never, recent]
        let truths: [Bool?] = [nil, true, false]
        let lacks: [[String]?] = [nil, [], ["vault"]]
        var seen = 0
        for stage in [Stage.previous, .disabled] {
            for tainted in [false, true] {
                for (clock, health) in clocks.flatMap({ clock in healths.map { (clock, $0) } }) {
                    for (works, missing) in truths.flatMap({ works in lacks.map { (works, $0) } }) {
                        for use in uses {
                            let facts = try facts(
                                stage: stage, tainted: tainted, disabledAt: stage == .disabled ? past : nil,
                                whenUnused: "6h", observe: "1d", unconfirmed: missing, works: works, clock: clock,
                                lastUse: use, health: health, checks: check)
                            let mayGo =
                                missing == [] && works == true
                                && (tainted
                                    || clock == .agrees && (stage == .disabled ? health == .passed : use == .never))
                            let isBlocked =
                                missing == ["vault"] || works == false
                                || !tainted
                                    && (clock == .disagrees("no")
                                        || (stage == .disabled ? health == .failed("no") : use == recent))
                            let verdicts = RetirementGate.judge(facts).map(\.verdict)
                            #expect(verdicts.allSatisfy { $0 == .open } == mayGo, "\(facts)")
                            #expect(verdicts.contains(.blocked) == isBlocked, "\(facts)")
                            seen += 1
                        }
                    }
                }
            }
        }
        #expect(seen == 2 * 2 * 9 * 9 * 3)
    }

    /// What the clock leapt over did not pass: grace and observation last that much longer.
    @Test func aLeapOfTheClockShortensNothing() throws {
        let promotedAt = now.addingTimeInterval(-7_200)
        let rules = ClockGuard(tolerance: 300)
        let before = ClockReading(wall: now.addingTimeInterval(-3_700), uptime: 1_000, boot: "b")
        let after = ClockReading(wall: now.addingTimeInterval(-100), uptime: 1_100, boot: "b")
        let mark = rules.accepting(after, after: ClockMark(before))
        #expect(mark.leapt(since: promotedAt) == 3_500)
        let installation = InstallationState(clock: mark)
        var version = VersionRecord.sample(1, .previous, from: promotedAt)
        version.leave(at: promotedAt, grace: 7_199)
        // One that came after the leap says nothing of when the grace began.
        var successor = VersionRecord.sample(3, from: now)
        successor.promotedAt = now.addingTimeInterval(-50)
        func gate(_ successor: VersionRecord, _ version: VersionRecord) -> [GateResult] {
            RetirementGate.judge(
                RetirementFacts(
                    version: version, successor: successor, rotationInFlight: false, now: now,
                    rule: RetirementRule(observe: PolicyDuration(seconds: 3_600)), reportsLastUse: false,
                    disables: true, installation: installation)
            ).filter { $0.verdict == .blocked }
        }
        #expect(gate(successor, version).map(\.gate) == [.gracePassed])
        #expect(gate(successor, version).first?.opensAt == now.addingTimeInterval(3_499))
        // Replaced after the leap, by the clock as it is now.
        version.leave(at: now.addingTimeInterval(-50), grace: 49)
        #expect(gate(successor, version).isEmpty)
        version.stage = .disabled
        version.disabledAt = now.addingTimeInterval(-3_800)
        #expect(gate(successor, version).map(\.gate) == [.observed])
        #expect(gate(successor, version).first?.opensAt == now.addingTimeInterval(3_300))
    }

    @Test func everythingThatBlocksIsSaid() throws {
        let facts = try facts(
            retireAt: nil, successor: nil, whenUnused: "6h", unconfirmed: ["vault"], works: false, lastUse: .at(now))
        #expect(
            closed(facts) == [
                "successor-promoted blocked", "grace-passed blocked", "backends-confirmed blocked",
                "successor-works blocked", "unused blocked",
            ])
    }
}
