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
        works: Bool? = true, lastUse: RetirementFacts.LastUse? = .never,
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
                observe: try observe.map { try PolicyDuration($0) }),
            reportsLastUse: reportsLastUse, disables: disables)
        facts.unconfirmedBackends = unconfirmed
        facts.successorWorks = works
        facts.lastUse = lastUse
        return facts
    }

    /// The gates that do not stand open, in order, such as `grace-passed blocked`.
    private func closed(_ facts: RetirementFacts) -> [String] {
        RetirementGate.judge(facts).filter { $0.verdict != .open }.map { "\($0.gate.rawValue) \($0.verdict.rawValue)" }
    }

    @Test func allStandOpenWhenAllHolds() throws {
        let gates = RetirementGate.judge(try facts(whenUnused: "6h"))
        #expect(
            gates.map(\.gate) == [.successorPromoted, .gracePassed, .backendsConfirmed, .successorWorks, .unused])
        #expect(gates.allSatisfy { $0.verdict == .open && $0.opensAt == nil })
    }

    @Test func aHeldSecretKeepsItsOldKeys() throws {
        var facts = try facts()
        facts.held = "paused"
        let first = try #require(RetirementGate.judge(facts).first)
        #expect(first == GateResult(.secretReleased, .blocked, "paused"))
        #expect(closed(facts) == ["secret-released blocked"])
    }

    @Test func theOrderIsTheOneInWhichTheyAreAsked() {
        #expect(
            RetirementGate.allCases.map(\.rawValue) == [
                "secret-released", "successor-promoted", "grace-passed", "backoff-passed", "backends-confirmed",
                "successor-works",
                "unused",
                "observed",
            ])
    }

    @Test func eachGateAloneBlocks() throws {
        let hour = now.addingTimeInterval(3_600)
        var waiting = VersionRecord.RetirementProgress()
        waiting.nextAttempt = hour
        waiting.lastError = StepFailure(step: "revoke", code: .timedOut, message: "no answer", advice: "", at: now)
        let cases: [(RetirementFacts, String, String, Date?)] = [
            (try facts(successor: nil), "successor-promoted blocked", "no later version is current", nil),
            (try facts(successor: 1), "successor-promoted blocked", "no later version is current", nil),
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
