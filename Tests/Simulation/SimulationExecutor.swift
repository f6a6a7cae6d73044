import Synchronization
import TestSupport

/// Runs every task of a simulation on one thread, in an order that the seed decides. The same seed runs the same jobs in
/// the same order, so that a failing history can be had again; another seed explores another interleaving.
package final class SimulationExecutor: TaskExecutor {
    /// Which of several jobs that are ready runs first.
    package enum Order: String, Sendable, CaseIterable {
        case bySeed, oldestFirst, newestFirst
    }

    private struct State {
        var jobs: [UnownedJob] = []
        var generator: SeededGenerator
    }

    private let state: Mutex<State>
    private let order: Order

    init(seed: UInt64, order: Order = .bySeed) {
        state = Mutex(State(generator: SeededGenerator(seed: seed)))
        self.order = order
    }

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        state.withLock { $0.jobs.append(job) }
    }

    /// Runs `body` until it ends, with the world's time moving on whenever nothing else can.
    func play(_ world: World, _ body: @escaping @Sendable () async -> Void) {
        // What still waits holds the world, which holds what waits.
        defer {
            world.clock.end()
            runUntilIdle()
        }
        let finished = Flag()
        Task(executorPreference: self) {
            await body()
            finished.isSet = true
        }
        var steps = 0
        while true {
            runUntilIdle()
            if finished.isSet { return }
            steps += 1
            if steps > Self.mostSteps { world.fail(7, nil, "it never comes to rest") }
            guard world.clock.advance() else { return world.fail(7, nil, "everything waits for nothing") }
        }
    }

    private static let mostSteps = 20_000_000

    private final class Flag: @unchecked Sendable {
        // @unchecked: used by the simulation's one thread alone.
        var isSet = false
    }

    /// Runs jobs until none is ready.
    private func runUntilIdle() {
        let executor = asUnownedTaskExecutor()
        while let job = next() { job.runSynchronously(on: executor) }
    }

    private func next() -> UnownedJob? {
        state.withLock { state in
            let count = state.jobs.count
            guard count > 1 else { return state.jobs.popLast() }
            switch order {
            case .newestFirst: break
            case .oldestFirst: return state.jobs.removeFirst()
            case .bySeed: state.jobs.swapAt(Int(state.generator.next() % UInt64(count)), count - 1)
            }
            return state.jobs.popLast()
        }
    }
}
