/// The life of one rotation as an explicit state machine: from the first call to the issuer until every backend has the
/// new version as current, or until all is undone.
///
/// The machine does no I/O. ``effects`` says what is to be done next in the state it is in, ``handle(_:)`` takes what
/// came of it. Its state is `Codable` and lies in the journal, so a restart goes on from where it stood.
package struct RotationMachine: Sendable, Codable, Equatable {
    package enum Phase: String, Sendable, Codable, CaseIterable {
        /// The issuer is asked for the key.
        case issuing
        /// Every backend that can holds the pending version unseen.
        case staging
        /// The key is proven to work.
        case verifying
        /// Every backend makes it current. From the first intent on there is no way back.
        case promoting
        /// Every required backend has it as current.
        case settled
        /// All is undone: backends first, then the key at its issuer.
        case abandoning
        /// Nothing of it is left.
        case abandoned

        package var isFinal: Bool { self == .settled || self == .abandoned }
    }

    /// How far one backend is.
    package enum Progress: String, Sendable, Codable, CaseIterable {
        case waiting
        /// Holds the pending version unseen; while all is being undone also: may hold it.
        case staged
        /// Can't hold it unseen; promoting writes it.
        case deferred
        /// Asked to make it current; the answer is not in yet.
        case promoting
        /// Has it as current, read back.
        case promoted
        /// Best effort, and given up.
        case failed
        /// The pending version was taken away again.
        case unstaged
    }

    package struct BackendProgress: Sendable, Codable, Equatable {
        package let name: String
        package let required: Bool
        package internal(set) var progress: Progress

        package init(name: String, required: Bool, progress: Progress = .waiting) {
            self.name = name
            self.required = required
            self.progress = progress
        }
    }

    /// What came of an effect.
    package enum Event: Sendable, Equatable {
        case issued
        case staged(backend: String)
        case deferred(backend: String)
        case verified
        /// The intent to promote is durable; the call follows.
        case promoteIntended(backend: String)
        case promoted(backend: String)
        /// A best-effort backend is not tried any more.
        case gaveUp(backend: String)
        /// The rotation is to be undone.
        case abandon
        case unstaged(backend: String)
        /// The pending key is gone at its issuer, or never was.
        case revoked
    }

    package private(set) var phase: Phase
    package private(set) var backends: [BackendProgress]
    /// Stays true when the backend that was asked is given up or dropped by the policy: its consumers may have the key.
    private var promoteWasIntended = false

    package init(backends: [(name: String, required: Bool)]) {
        phase = .issuing
        self.backends = backends.map { BackendProgress(name: $0.name, required: $0.required) }
    }

    /// Starts where a version that is current already is to be made current at further backends. There is no way back.
    package init(distributingTo backends: [BackendProgress]) {
        phase = .promoting
        self.backends = backends
        promoteWasIntended = true
    }

    /// Starts where a version that was current before is proven to work, to be made current again. Nothing was made for it:
    /// before its first promote it is given up without a trace, never by way of `abandoning`.
    package init(returningTo backends: [(name: String, required: Bool)]) {
        phase = .verifying
        self.backends = backends.map {
            BackendProgress(name: $0.name, required: $0.required, progress: .deferred)
        }
    }

    /// Takes over a state, for tests that visit every one.
    package init(phase: Phase, backends: [BackendProgress]) {
        self.phase = phase
        self.backends = backends
        promoteWasIntended = backends.contains { $0.progress == .promoting || $0.progress == .promoted }
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        self.init(
            phase: try container.decode(Phase.self, forKey: .phase),
            backends: try container.decode([BackendProgress].self, forKey: .backends))
        if try container.decodeIfPresent(Bool.self, forKey: .promoteWasIntended) == true { promoteWasIntended = true }
    }

    /// Whether a consumer may already have seen the new version: then it only goes forward.
    package var isPastFirstPromote: Bool { phase == .settled || promoteWasIntended }

    /// What is to be done next. Effects of different backends are independent of each other.
    package var effects: [RotationStep] {
        switch phase {
        case .issuing: [.issue]
        case .staging: backends.filter { $0.progress == .waiting }.map { .stage(backend: $0.name) }
        case .verifying: [.verify]
        case .promoting: backends.filter(\.awaitsPromote).map { .promote(backend: $0.name) }
        case .abandoning:
            backends.contains { $0.progress == .staged }
                ? backends.filter { $0.progress == .staged }.map { .unstage(backend: $0.name) } : [.revoke]
        case .settled, .abandoned: []
        }
    }

    /// Takes what came of an effect.
    ///
    /// - Throws: ``RotationTransitionError`` for an event that has no place in the present state; the state is unchanged.
    package mutating func handle(_ event: Event) throws(RotationTransitionError) {
        guard let transition = RotationTransition.table.first(where: { $0.applies(to: self, event) }) else {
            throw RotationTransitionError(phase: phase, event: event)
        }
        transition.mark(&self, event)
        if transition.trigger == .promoteIntended { promoteWasIntended = true }
        phase = transition.next(self)
    }

    /// Sets one backend's progress.
    mutating func set(_ backend: String, to progress: Progress) {
        for index in backends.indices where backends[index].name == backend { backends[index].progress = progress }
    }

    package func progress(of backend: String) -> BackendProgress? { backends.first { $0.name == backend } }

    /// Follows a policy that was edited while the rotation ran: new backends join, dropped ones leave.
    ///
    /// Only while every backend is still to be promoted or this machine is not final; what is promoted stays promoted.
    package mutating func follow(backends wanted: [(name: String, required: Bool)]) {
        guard !phase.isFinal, phase != .abandoning else { return }
        let known = Dictionary(backends.map { ($0.name, $0.progress) }) { first, _ in first }
        backends = wanted.map { name, required in
            let joining: Progress = phase == .issuing || phase == .staging ? .waiting : .deferred
            var progress = known[name] ?? joining
            // Given up while it was best effort, and tried again once it is required.
            if progress == .failed, required { progress = joining }
            return BackendProgress(name: name, required: required, progress: progress)
        }
        if phase == .staging, backends.allSatisfy({ $0.progress != .waiting }) { phase = .verifying }
        if phase == .promoting, !backends.contains(where: \.awaitsPromote) { phase = .settled }
    }
}

extension RotationMachine.BackendProgress {
    /// Whether promoting still has to write here.
    package var awaitsPromote: Bool {
        switch progress {
        case .waiting, .staged, .deferred, .promoting: true
        case .promoted, .failed, .unstaged: false
        }
    }
}

/// An event that has no place in the state a rotation is in: a defect of the caller, never of an outside system.
package struct RotationTransitionError: Error, Equatable, CustomStringConvertible {
    package let phase: RotationMachine.Phase
    package let event: RotationMachine.Event

    package var description: String { "a rotation that is \(phase.rawValue) cannot take the event \(event)" }
}
