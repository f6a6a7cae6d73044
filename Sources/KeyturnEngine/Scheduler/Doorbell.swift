import KeyturnCore
import Synchronization

/// Wakes the scheduler before its sleep is over.
final class Doorbell: Sendable {
    private struct State {
        var rung = false
        var listener: CheckedContinuation<Void, Never>?
    }

    private let state = Mutex(State())

    /// A ring while nobody listens is kept for the next listener.
    func ring() {
        let listener: CheckedContinuation<Void, Never>? = state.withLock { state in
            guard let listener = state.listener else {
                state.rung = true
                return nil
            }
            state.listener = nil
            return listener
        }
        listener?.resume()
    }

    /// Waits for a ring, at most as long as `duration`.
    func wait(upTo duration: Duration, on time: any Timekeeper) async {
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.listen() }
            group.addTask { try? await time.sleep(for: duration) }
            await group.next()
            group.cancelAll()
        }
    }

    private func listen() async {
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver: Bool = state.withLock { state in
                    if state.rung || Task.isCancelled {
                        state.rung = false
                        return true
                    }
                    state.listener = continuation
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            let listener: CheckedContinuation<Void, Never>? = state.withLock { state in
                defer { state.listener = nil }
                return state.listener
            }
            listener?.resume()
        }
    }
}
