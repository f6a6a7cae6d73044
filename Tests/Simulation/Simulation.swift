import KeyturnCore
import TestSupport

/// A whole installation of Keyturn over a simulated world, driven by one seed: the real engine and planner, with time,
/// disk, issuers, backends and consumers under the simulation's control. The same seed gives the same history.
package struct Simulation: Sendable {
    package var seed: UInt64
    /// How long things go wrong, in simulated days; then they heal, and everything must come to rest.
    package var days = 8.0
    package var secrets = 6
    package var faults = Faults()
    /// Whether events are written down. It changes nothing else.
    package var isTracing = false

    package init(seed: UInt64) { self.seed = seed }

    package struct Outcome: Sendable {
        package let seed: UInt64
        /// The first promise that was broken; `nil` when all were kept.
        package let violation: String?
        package let counts: Counts
        /// The newest events of the secret whose promise was broken, oldest first.
        package let trace: [String]
    }

    /// - Parameter events: how many events the outcome tells at most.
    package func run(events: Int = 40) -> Outcome {
        let world = World(seed: seed, faults: faults, isTracing: isTracing)
        let site = Site(world: world, secrets: secrets, days: days)
        SimulationExecutor(seed: seed &* 0x9E37_79B9 &+ 1).play(world) { await site.live() }
        return Outcome(
            seed: seed, violation: world.violation?.sentence, counts: world.counts, trace: world.trace(events))
    }
}
