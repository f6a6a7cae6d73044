/// One row of the machine's table: in which phase which event leads where.
///
/// The table is the machine: ``RotationMachine/handle(_:)`` looks rows up in it and knows nothing else, so that a drawing
/// of it can't be out of date.
package struct RotationTransition: Sendable {
    /// Events without the names they carry.
    package enum Trigger: String, Sendable, CaseIterable {
        case issued, staged, deferred, verified, promoteIntended, promoted, gaveUp, abandon, unstaged, revoked
    }

    package let from: RotationMachine.Phase
    package let trigger: Trigger
    package let to: RotationMachine.Phase
    /// In words, what must hold besides; empty when nothing.
    package let condition: String
    let holds: @Sendable (RotationMachine, RotationMachine.Event) -> Bool
    let mark: @Sendable (inout RotationMachine, RotationMachine.Event) -> Void
    /// When the phase is left: asked after the mark, else the machine stays in `from`.
    let leaves: @Sendable (RotationMachine) -> Bool

    func applies(to machine: RotationMachine, _ event: RotationMachine.Event) -> Bool {
        machine.phase == from && trigger == event.trigger && holds(machine, event)
    }

    func next(_ machine: RotationMachine) -> RotationMachine.Phase { leaves(machine) ? to : from }

    init(
        _ from: RotationMachine.Phase, _ trigger: Trigger, _ to: RotationMachine.Phase, when condition: String = "",
        holds: @escaping @Sendable (RotationMachine, RotationMachine.Event) -> Bool = { _, _ in true },
        mark: @escaping @Sendable (inout RotationMachine, RotationMachine.Event) -> Void = { _, _ in },
        leaves: @escaping @Sendable (RotationMachine) -> Bool = { _ in true }
    ) {
        self.from = from
        self.trigger = trigger
        self.to = to
        self.condition = condition
        self.holds = holds
        self.mark = mark
        self.leaves = leaves
    }

    /// The whole machine.
    package static let table: [RotationTransition] = [
        // The key is there, sealed in the journal.
        .init(.issuing, .issued, .staging),
        // Each backend in its own time; the last one opens the next phase.
        .init(
            .staging, .staged, .verifying, when: "the last backend", holds: backendIs(.waiting), mark: set(.staged),
            leaves: noneWaiting),
        .init(
            .staging, .deferred, .verifying, when: "the last backend", holds: backendIs(.waiting),
            mark: set(.deferred), leaves: noneWaiting),
        .init(
            .staging, .gaveUp, .verifying, when: "best effort, the last backend", holds: mayGiveUp,
            mark: set(.failed), leaves: noneWaiting),
        // Proven before any consumer can see it.
        .init(.verifying, .verified, .promoting),
        // From the first intent on there is only forward.
        .init(
            .promoting, .promoteIntended, .settled, when: "never by itself", holds: awaitsPromote,
            mark: set(.promoting), leaves: { _ in false }),
        .init(
            .promoting, .promoted, .settled, when: "the last backend", holds: backendIs(.promoting),
            mark: set(.promoted), leaves: noneAwaitsPromote),
        .init(
            .promoting, .gaveUp, .settled, when: "best effort, the last backend", holds: mayGiveUp,
            mark: set(.failed), leaves: noneAwaitsPromote),
        // Before it, everything can be undone.
        .init(.issuing, .abandon, .abandoning),
        .init(.staging, .abandon, .abandoning, mark: whatWaitsMayBeStaged),
        .init(.verifying, .abandon, .abandoning),
        .init(
            .promoting, .abandon, .abandoning, when: "no promote was intended",
            holds: { machine, _ in !machine.isPastFirstPromote }),
        // Backends first, so that none holds a key that is dead.
        .init(
            .abandoning, .unstaged, .abandoned, when: "never by itself", holds: backendIs(.staged),
            mark: set(.unstaged), leaves: { _ in false }),
        .init(
            .abandoning, .gaveUp, .abandoned, when: "never by itself", holds: mayKeepIt, mark: set(.failed),
            leaves: { _ in false }),
        .init(
            .abandoning, .revoked, .abandoned, when: "no backend holds it",
            holds: { machine, _ in !machine.backends.contains { $0.progress == .staged } }),
    ]

    private static func backendIs(
        _ progress: RotationMachine.Progress
    ) -> @Sendable (RotationMachine, RotationMachine.Event) -> Bool {
        { machine, event in event.backend.flatMap(machine.progress)?.progress == progress }
    }

    private static func set(
        _ progress: RotationMachine.Progress
    ) -> @Sendable (inout RotationMachine, RotationMachine.Event) -> Void {
        { machine, event in if let backend = event.backend { machine.set(backend, to: progress) } }
    }

    private static let awaitsPromote: @Sendable (RotationMachine, RotationMachine.Event) -> Bool = { machine, event in
        event.backend.flatMap(machine.progress)?.awaitsPromote ?? false
    }

    private static let mayGiveUp: @Sendable (RotationMachine, RotationMachine.Event) -> Bool = { machine, event in
        guard let backend = event.backend.flatMap(machine.progress) else { return false }
        return !backend.required && backend.awaitsPromote
    }

    /// A best-effort backend that can't be reached keeps a version that nobody sees.
    private static let mayKeepIt: @Sendable (RotationMachine, RotationMachine.Event) -> Bool = { machine, event in
        mayGiveUp(machine, event) && backendIs(.staged)(machine, event)
    }

    /// A backend that was asked to hold the version may hold it, though its answer never came.
    private static let whatWaitsMayBeStaged: @Sendable (inout RotationMachine, RotationMachine.Event) -> Void = {
        machine, _ in
        for backend in machine.backends where backend.progress == .waiting { machine.set(backend.name, to: .staged) }
    }

    private static let noneWaiting: @Sendable (RotationMachine) -> Bool = { machine in
        !machine.backends.contains { $0.progress == .waiting }
    }

    private static let noneAwaitsPromote: @Sendable (RotationMachine) -> Bool = { machine in
        !machine.backends.contains(where: \.awaitsPromote)
    }
}

extension RotationMachine.Event {
    /// The event without the names it carries.
    package var trigger: RotationTransition.Trigger {
        switch self {
        case .issued: .issued
        case .staged: .staged
        case .deferred: .deferred
        case .verified: .verified
        case .promoteIntended: .promoteIntended
        case .promoted: .promoted
        case .gaveUp: .gaveUp
        case .abandon: .abandon
        case .unstaged: .unstaged
        case .revoked: .revoked
        }
    }

    /// The backend it is about.
    package var backend: String? {
        switch self {
        case .staged(let name), .deferred(let name), .promoteIntended(let name), .promoted(let name),
            .gaveUp(let name), .unstaged(let name):
            name
        case .issued, .verified, .abandon, .revoked: nil
        }
    }
}
