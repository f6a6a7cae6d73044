import Foundation
import Testing

@testable import KeyturnCore

@Suite("The rotation machine")
struct RotationMachineTests {
    typealias Machine = RotationMachine
    typealias Phase = RotationMachine.Phase
    typealias Event = RotationMachine.Event

    // MARK: The table

    /// The rows of the table, written out: phase, event, phase.
    static let rows: Set<[String]> = [
        ["issuing", "issued", "staging"],
        ["issuing", "abandon", "abandoning"],
        ["staging", "staged", "verifying"],
        ["staging", "deferred", "verifying"],
        ["staging", "gaveUp", "verifying"],
        ["staging", "abandon", "abandoning"],
        ["verifying", "verified", "promoting"],
        ["verifying", "abandon", "abandoning"],
        ["promoting", "promoteIntended", "settled"],
        ["promoting", "promoted", "settled"],
        ["promoting", "gaveUp", "settled"],
        ["promoting", "abandon", "abandoning"],
        ["abandoning", "unstaged", "abandoned"],
        ["abandoning", "gaveUp", "abandoned"],
        ["abandoning", "revoked", "abandoned"],
    ]

    @Test func theTableHasTheseRowsAndNoOthers() {
        let table = RotationTransition.table.map { [$0.from.rawValue, $0.trigger.rawValue, $0.to.rawValue] }
        #expect(Set(table) == Self.rows)
        #expect(table.count == Self.rows.count, "a row stands twice")
    }

    @Test func finalPhasesHaveNoRow() {
        for phase in Phase.allCases {
            #expect(RotationTransition.table.contains { $0.from == phase } == !phase.isFinal, "\(phase)")
        }
    }

    // MARK: Every state

    /// Every phase with every combination of progress of a required and a best-effort backend.
    static var everyState: [Machine] {
        Phase.allCases.flatMap { phase in
            Machine.Progress.allCases.flatMap { first in
                Machine.Progress.allCases.map { second in
                    Machine(
                        phase: phase,
                        backends: [
                            .init(name: "a", required: true, progress: first),
                            .init(name: "b", required: false, progress: second),
                        ])
                }
            }
        }
    }

    static let everyEvent: [Event] =
        [.issued, .verified, .abandon, .revoked]
        + ["a", "b", "unknown"].flatMap { name -> [Event] in
            [
                .staged(backend: name), .deferred(backend: name), .promoteIntended(backend: name),
                .promoted(backend: name), .gaveUp(backend: name), .unstaged(backend: name),
            ]
        }

    @Test func everyEventInEveryStateFollowsItsRowOrIsRefused() {
        var taken = 0
        for machine in Self.everyState {
            for event in Self.everyEvent {
                var next = machine
                let wanted = Self.expected(machine, event)
                do throws(RotationTransitionError) { try next.handle(event) } catch {
                    let isRight =
                        wanted == nil && next == machine && error.phase == machine.phase && error.event == event
                    if !isRight { Issue.record("\(machine) refused \(event)") }
                    continue
                }
                taken += 1
                if next.phase != wanted { Issue.record("\(machine) took \(event) to \(next.phase)") }
                Self.onlyThatBackendMoved(from: machine, to: next, event)
            }
        }
        #expect(taken > 400)
    }

    /// What the design says, state by state and in its own words; `nil` where the event has no place.
    private static func expected(_ machine: Machine, _ event: Event) -> Phase? {
        let backend = event.backend.flatMap(machine.progress)
        if event.backend != nil, backend == nil { return nil }
        let mine = backend?.progress
        let others = machine.backends.filter { $0.name != event.backend }.map(\.progress)
        let unfinished: Set<Machine.Progress> = [.waiting, .staged, .deferred, .promoting]
        switch (machine.phase, event) {
        case (.issuing, .issued): return .staging
        case (.staging, .staged), (.staging, .deferred):
            guard mine == .waiting else { return nil }
            return others.contains(.waiting) ? .staging : .verifying
        case (.staging, .gaveUp):
            guard let backend, !backend.required, unfinished.contains(backend.progress) else { return nil }
            return others.contains(.waiting) ? .staging : .verifying
        case (.verifying, .verified): return .promoting
        case (.promoting, .promoteIntended):
            return mine.map(unfinished.contains) == true ? .promoting : nil
        case (.promoting, .promoted):
            guard mine == .promoting else { return nil }
            return others.contains(where: unfinished.contains) ? .promoting : .settled
        case (.promoting, .gaveUp):
            guard let backend, !backend.required, unfinished.contains(backend.progress) else { return nil }
            return others.contains(where: unfinished.contains) ? .promoting : .settled
        case (.issuing, .abandon), (.staging, .abandon), (.verifying, .abandon): return .abandoning
        case (.promoting, .abandon):
            let seen: Set<Machine.Progress> = [.promoting, .promoted]
            return machine.backends.contains { seen.contains($0.progress) } ? nil : .abandoning
        case (.abandoning, .unstaged): return mine == .staged ? .abandoning : nil
        case (.abandoning, .gaveUp): return mine == .staged && backend?.required == false ? .abandoning : nil
        case (.abandoning, .revoked):
            return machine.backends.contains { $0.progress == .staged } ? nil : .abandoned
        default: return nil
        }
    }

    private static func onlyThatBackendMoved(from old: Machine, to new: Machine, _ event: Event) {
        for (before, after) in zip(old.backends, new.backends) {
            if old.phase == .staging, event == .abandon, before.progress == .waiting {
                #expect(after.progress == .staged, "it may have been staged without an answer")
                continue
            }
            guard before.name == event.backend else {
                #expect(before == after, "\(event) moved another backend of \(old)")
                continue
            }
            let target: Machine.Progress =
                switch event {
                case .staged: .staged
                case .deferred: .deferred
                case .promoteIntended: .promoting
                case .promoted: .promoted
                case .gaveUp: .failed
                case .unstaged: .unstaged
                case .issued, .verified, .abandon, .revoked: before.progress
                }
            #expect(after.progress == target)
        }
    }

    @Test func aStateSurvivesTheJournal() throws {
        for machine in Self.everyState {
            let data = try JSONEncoder().encode(machine)
            #expect(try JSONDecoder().decode(Machine.self, from: data) == machine)
        }
    }

    @Test func aStateThatDoesNotSayWhetherAPromoteWasIntendedIsReadByItsBackends() throws {
        for (progress, isPast) in [("staged", false), ("promoting", true), ("promoted", true), ("failed", false)] {
            let text =
                #"{"phase": "promoting", "backends": [{"name": "a", "required": true, "progress": "\#(progress)"}]}"#
            let machine = try JSONDecoder().decode(Machine.self, from: Data(text.utf8))
            #expect(machine.isPastFirstPromote == isPast, "\(progress)")
        }
    }

    @Test func refusalsAreSaidInWords() {
        let error = RotationTransitionError(phase: .settled, event: .abandon)
        #expect(error.description == "a rotation that is settled cannot take the event abandon")
    }

    // MARK: What is to be done

    @Test func effectsOfTheUsualCourse() throws {
        var machine = Machine(backends: [("a", true), ("b", false)])
        #expect(machine.effects == [.issue])
        try machine.handle(.issued)
        #expect(machine.effects == [.stage(backend: "a"), .stage(backend: "b")])
        try machine.handle(.staged(backend: "a"))
        #expect(machine.effects == [.stage(backend: "b")])
        try machine.handle(.deferred(backend: "b"))
        #expect(machine.effects == [.verify])
        try machine.handle(.verified)
        #expect(machine.effects == [.promote(backend: "a"), .promote(backend: "b")])
        try machine.handle(.promoteIntended(backend: "a"))
        #expect(machine.isPastFirstPromote)
        #expect(machine.effects == [.promote(backend: "a"), .promote(backend: "b")], "an unknown outcome is repeated")
        try machine.handle(.promoted(backend: "a"))
        #expect(machine.effects == [.promote(backend: "b")])
        try machine.handle(.gaveUp(backend: "b"))
        #expect(machine.phase == .settled)
        #expect(machine.effects.isEmpty)
    }

    @Test func undoingTakesTheBackendsFirst() throws {
        var machine = Machine(backends: [("a", true), ("b", true)])
        try machine.handle(.issued)
        try machine.handle(.staged(backend: "a"))
        try machine.handle(.abandon)
        // The other may have been asked already.
        #expect(machine.effects == [.unstage(backend: "a"), .unstage(backend: "b")])
        #expect(throws: RotationTransitionError.self) { try machine.handle(.revoked) }
        try machine.handle(.unstaged(backend: "a"))
        #expect(machine.effects == [.unstage(backend: "b")])
        #expect(throws: RotationTransitionError.self) { try machine.handle(.revoked) }
        try machine.handle(.unstaged(backend: "b"))
        #expect(machine.effects == [.revoke])
        try machine.handle(.revoked)
        #expect(machine.phase == .abandoned)
        #expect(machine.effects.isEmpty)
    }

    @Test func undoingTakesBackendsWhoseAnswerNeverCame() throws {
        var machine = Machine(backends: [("a", true), ("b", false), ("c", true)])
        try machine.handle(.issued)
        try machine.handle(.deferred(backend: "c"))
        try machine.handle(.abandon)
        #expect(machine.effects == [.unstage(backend: "a"), .unstage(backend: "b")])
        #expect(throws: RotationTransitionError.self) { try machine.handle(.gaveUp(backend: "a")) }
        try machine.handle(.gaveUp(backend: "b"))
        #expect(machine.effects == [.unstage(backend: "a")])
        try machine.handle(.unstaged(backend: "a"))
        #expect(machine.effects == [.revoke])
    }

    /// A best-effort backend that was asked and given up may show the new key all the same.
    @Test func givingUpABackendThatWasAskedLeavesNoWayBack() throws {
        var machine = Machine(backends: [("a", true), ("b", false)])
        for event in [
            Event.issued, .staged(backend: "a"), .staged(backend: "b"), .verified, .promoteIntended(backend: "b"),
            .gaveUp(backend: "b"),
        ] {
            try machine.handle(event)
        }
        #expect(machine.isPastFirstPromote)
        #expect(throws: RotationTransitionError.self) { try machine.handle(.abandon) }
    }

    @Test func stepsHaveStableWords() {
        let words: [(RotationStep, String)] = [
            (.issue, "issue"), (.stage(backend: "v"), "stage:v"), (.verify, "verify"),
            (.promote(backend: "v"), "promote:v"), (.unstage(backend: "v"), "unstage:v"), (.disable, "disable"),
            (.enable, "enable"), (.revoke, "revoke"), (.proveRefused, "prove-refused"),
            (.prune(backend: "v"), "prune:v"),
        ]
        for (step, word) in words { #expect(step.text == word) }
    }

    // MARK: A policy that is edited meanwhile

    @Test func newBackendsJoinAndDroppedOnesLeave() throws {
        var machine = Machine(backends: [("a", true), ("b", true)])
        try machine.handle(.issued)
        try machine.handle(.staged(backend: "a"))
        machine.follow(backends: [("a", true), ("c", false)])
        #expect(machine.backends.map(\.name) == ["a", "c"])
        #expect(machine.effects == [.stage(backend: "c")])
        machine.follow(backends: [("a", true)])
        #expect(machine.phase == .verifying, "nobody is left to wait for")
        machine.follow(backends: [("a", true), ("d", true)])
        #expect(machine.progress(of: "d")?.progress == .deferred, "the time to stage is over; promoting writes it")
    }

    @Test func droppingTheLastOneThatWaitsSettles() throws {
        var machine = Machine(
            phase: .promoting,
            backends: [
                .init(name: "a", required: true, progress: .promoted),
                .init(name: "b", required: true, progress: .staged),
            ])
        machine.follow(backends: [("a", true)])
        #expect(machine.phase == .settled)
    }

    @Test func aBackendThatIsRequiredFromNowOnIsTriedAgain() {
        var machine = Machine(
            phase: .promoting,
            backends: [
                .init(name: "a", required: true, progress: .staged),
                .init(name: "b", required: false, progress: .failed),
            ])
        machine.follow(backends: [("a", true), ("b", true)])
        #expect(machine.effects == [.promote(backend: "a"), .promote(backend: "b")])
    }

    @Test func droppingABackendThatHasItLeavesNoWayBack() {
        var machine = Machine(
            phase: .promoting,
            backends: [
                .init(name: "a", required: true, progress: .promoted),
                .init(name: "b", required: true, progress: .staged),
            ])
        machine.follow(backends: [("b", true)])
        #expect(machine.phase == .promoting)
        #expect(machine.isPastFirstPromote, "consumers of the dropped backend have the new key")
        #expect(throws: RotationTransitionError.self) { try machine.handle(.abandon) }
    }

    @Test(arguments: [Phase.abandoning, .abandoned, .settled]) func whatEndsFollowsNoEdit(phase: Phase) {
        var machine = Machine(phase: phase, backends: [.init(name: "a", required: true, progress: .staged)])
        let before = machine
        machine.follow(backends: [("z", true)])
        #expect(machine == before)
    }

    // MARK: Invariants

    @Test func randomHistoriesKeepTheInvariants() throws {
        var generator = SeededGenerator.forTest()
        var steps = 0
        var ends: [Phase: Int] = [:]
        while steps < 10_000 {
            var machine = Machine(backends: Self.backends(using: &generator))
            var history: [String] = []
            var wasSeen = false
            while !machine.phase.isFinal, history.count < 60 {
                let old = machine
                if generator.chance(3) {
                    let wanted = Self.backends(using: &generator)
                    history.append("follow \(wanted)")
                    machine.follow(backends: wanted)
                } else if let event = Self.likelyEvents(machine).randomElement(using: &generator) {
                    history.append("\(event)")
                    // A refusal is an answer too: it must change nothing.
                    if (try? machine.handle(event)) == nil { #expect(machine == old) }
                }
                steps += 1
                wasSeen = wasSeen || machine.backends.contains { $0.progress == .promoting || $0.progress == .promoted }
                let allHaveIt = machine.backends.allSatisfy { !$0.required || $0.progress == .promoted }
                let holds = [
                    "past the first promote it stays so": machine.isPastFirstPromote || !wasSeen,
                    "past the first promote nothing is undone":
                        !wasSeen || (machine.phase != .abandoning && machine.phase != .abandoned),
                    "settled with every required backend": machine.phase != .settled || allHaveIt,
                    "abandoned with no backend that holds it":
                        machine.phase != .abandoned || !machine.backends.contains { $0.progress == .staged },
                    "there is always something to do": machine.phase.isFinal || !machine.effects.isEmpty,
                ]
                for (promise, isKept) in holds where !isKept {
                    Issue.record("\(promise); seed \(generator.seed): \(history.joined(separator: ", "))")
                }
            }
            ends[machine.phase, default: 0] += 1
        }
        #expect((ends[.settled] ?? 0) > 50 && (ends[.abandoned] ?? 0) > 50, "\(ends)")
    }

    private static func backends(using generator: inout SeededGenerator) -> [(name: String, required: Bool)] {
        let others = ["b", "c", "d"].filter { _ in generator.chance(60) }
        return [("a", true)] + others.map { ($0, generator.chance(50)) }
    }

    /// What the present effects may bring, and a few events that do not belong.
    private static func likelyEvents(_ machine: Machine) -> [Event] {
        var events: [Event] = [.abandon, .revoked, .verified]
        for effect in machine.effects {
            switch effect {
            case .issue: events += [.issued, .issued, .issued]
            case .stage(let name): events += [.staged(backend: name), .deferred(backend: name), .gaveUp(backend: name)]
            case .promote(let name):
                events += [
                    .promoteIntended(backend: name), .promoted(backend: name), .promoted(backend: name),
                    .gaveUp(backend: name),
                ]
            case .unstage(let name): events += [.unstaged(backend: name), .gaveUp(backend: name)]
            case .verify: events += [.verified, .verified]
            case .revoke, .disable, .enable, .proveRefused, .prune: events.append(.revoked)
            }
        }
        return events
    }
}
