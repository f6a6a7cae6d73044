import Foundation
import Synchronization

/// Runs what keeps a thread waiting, such as a C library's calls, on a thread of its own.
package enum BlockingCall {
    /// Whether the task that waits was cancelled, for the thread to ask.
    package final class Cancellation: Sendable {
        private let flag = Atomic(false)

        package var isAsked: Bool { flag.load(ordering: .relaxed) }

        fileprivate func ask() { flag.store(true, ordering: .relaxed) }
    }

    /// - Parameter body: has to end soon once a cancellation is asked for; it is waited for.
    package static func run<Outcome: Sendable>(
        _ name: String, _ body: @escaping @Sendable (Cancellation) -> Outcome
    ) async -> Outcome {
        let cancellation = Cancellation()
        return await withTaskCancellationHandler {
            await withCheckedContinuation { (waiter: CheckedContinuation<Outcome, Never>) in
                let thread = Thread { waiter.resume(returning: body(cancellation)) }
                thread.name = name
                thread.start()
            }
        } onCancel: {
            cancellation.ask()
        }
    }
}
