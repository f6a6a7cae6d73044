package import KeyturnCore
import Synchronization

/// Stops a simulated process at one chosen instant, as `kill -9` would: from then on nothing it does has any effect.
package final class CrashPlan: Sendable {
    package enum Instant: Sendable, CaseIterable {
        /// The process dies before the effect happens.
        case before
        /// The effect happens, and the process dies before it hears of it.
        case after
    }

    private struct State {
        var count = 0
        var target: Int?
        /// Counts only effects of this name.
        var name: String?
        var instant = Instant.before
        var isDead = false
        var deathAt: String?
    }

    private let state = Mutex(State())

    package init() {}

    /// The process dies at the `target`th effect from now, counted from 0; of one name, or of any.
    package func die(at target: Int?, of name: String? = nil, _ instant: Instant) {
        state.withLock { $0 = State(target: target, name: name, instant: instant) }
    }

    /// The next process lives.
    package func revive() { state.withLock { $0 = State() } }

    /// How many effects there were since the plan was set.
    package var count: Int { state.withLock { $0.count } }
    package var isDead: Bool { state.withLock { $0.isDead } }
    package var deathAt: String? { state.withLock { $0.deathAt } }

    /// Runs an effect at whose place the process may die.
    ///
    /// - Throws: ``ProcessDied``.
    package func effect<Result>(_ name: String, _ body: () throws -> Result) throws -> Result {
        let fate = try fate(of: name)
        if fate == .before { throw ProcessDied() }
        let result = try body()
        if fate == .after { throw ProcessDied() }
        return result
    }

    /// Whether the process dies at this effect, and on which side of it.
    ///
    /// - Throws: ``ProcessDied`` when it is dead already.
    package func fate(of name: String) throws -> Instant? {
        try state.withLock { state in
            guard !state.isDead else { throw ProcessDied() }
            guard state.name == nil || state.name == name else { return nil }
            defer { state.count += 1 }
            guard state.count == state.target else { return nil }
            state.isDead = true
            state.deathAt = name
            return state.instant
        }
    }
}

/// What everything throws once the simulated process is dead.
package struct ProcessDied: Error { package init() {} }

extension SystemError {
    /// How a dead process sees an outside call: it hears nothing.
    package static let processDied = SystemError(.cancelled, "the process died", mayHaveTakenEffect: true)
}
