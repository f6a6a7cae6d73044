import Synchronization

/// Lets a limited number of tasks go on at a time, first come, first served. A cancelled waiter leaves the queue.
package final class AsyncSemaphore: Sendable {
    private struct Waiter {
        let id: UInt64
        let continuation: CheckedContinuation<Bool, Never>
    }

    private struct State {
        var free: Int
        var lastID: UInt64 = 0
        var queue: [Waiter] = []
        /// On their way into the queue; `true` once cancelled.
        var entering: [UInt64: Bool] = [:]
    }

    private let state: Mutex<State>

    package init(permits: Int) { state = Mutex(State(free: max(1, permits))) }

    /// Runs `body` once a permit is free.
    ///
    /// - Throws: `CancellationError` when the task is cancelled while it waits.
    package func run<Result: Sendable>(_ body: () async throws -> Result) async throws -> Result {
        guard await acquire() else { throw CancellationError() }
        defer { release() }
        return try await body()
    }

    private func acquire() async -> Bool {
        let entered: UInt64? = state.withLock { state in
            if state.free > 0, !Task.isCancelled {
                state.free -= 1
                return nil
            }
            state.lastID += 1
            state.entering[state.lastID] = false
            return state.lastID
        }
        guard let id = entered else { return true }
        return await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let answer: Bool? = state.withLock { state in
                    if state.entering.removeValue(forKey: id) == true { return false }
                    if state.free > 0 {
                        state.free -= 1
                        return true
                    }
                    state.queue.append(Waiter(id: id, continuation: continuation))
                    return nil
                }
                if let answer { continuation.resume(returning: answer) }
            }
        } onCancel: {
            let waiter: Waiter? = state.withLock { state in
                if let index = state.queue.firstIndex(where: { $0.id == id }) { return state.queue.remove(at: index) }
                if state.entering[id] != nil { state.entering[id] = true }
                return nil
            }
            waiter?.continuation.resume(returning: false)
        }
    }

    private func release() {
        let next: Waiter? = state.withLock { state in
            guard !state.queue.isEmpty else {
                state.free += 1
                return nil
            }
            return state.queue.removeFirst()
        }
        next?.continuation.resume(returning: true)
    }
}
