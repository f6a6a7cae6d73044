import Foundation
import Synchronization

/// Runs what keeps a thread waiting, such as a C library's calls, on a thread of its own.
package enum BlockingCall {
    /// - Parameter body: is waited for, and has to end when its patience does, which a cancelled task has none of.
    package static func run<Outcome: Sendable>(
        _ name: String, seconds: Int, _ body: @escaping @Sendable (Patience) -> Outcome
    ) async -> Outcome {
        let cancellation = Cancellation()
        return await withTaskCancellationHandler {
            await withCheckedContinuation { (waiter: CheckedContinuation<Outcome, Never>) in
                let thread = Thread {
                    waiter.resume(returning: body(Patience(seconds: seconds) { cancellation.isAsked }))
                }
                thread.name = name
                thread.start()
            }
        } onCancel: {
            cancellation.ask()
        }
    }

    private final class Cancellation: Sendable {
        private let flag = Atomic(false)

        var isAsked: Bool { flag.load(ordering: .relaxed) }

        func ask() { flag.store(true, ordering: .relaxed) }
    }
}
