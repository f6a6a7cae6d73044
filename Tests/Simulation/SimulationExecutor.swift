import Synchronization
import TestSupport

/// Runs every task of a simulation on one thread, in an order that the seed decides. The same seed runs the same jobs in
/// the same order, so that a failing history can be had again; another seed explores another interleaving.
final class SimulationExecutor: TaskExecutor {
    private struct State {
        var jobs: [UnownedJob] = []
        var generator: SeededGenerator
    }

    private let state: Mutex<State>

    init(seed: UInt64) { state = Mutex(State(generator: SeededGenerator(seed: seed))) }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        state.withLock { $0.jobs.append(job) }
    }

    /// Runs jobs until none is ready.
    func runUntilIdle() {
        let executor = asUnownedTaskExecutor()
        while let job = next() { job.runSynchronously(on: executor) }
    }

    private func next() -> UnownedJob? {
        state.withLock { state in
            guard !state.jobs.isEmpty else { return nil }
            let index = state.jobs.count == 1 ? 0 : Int.random(in: 0..<state.jobs.count, using: &state.generator)
            state.jobs.swapAt(index, state.jobs.count - 1)
            return state.jobs.popLast()
        }
    }
}
