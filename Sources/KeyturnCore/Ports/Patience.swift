/// How long a conversation that keeps a thread waiting may take, and what ends it before.
package struct Patience: Sendable {
    private let deadline: ContinuousClock.Instant
    private let isCancelled: @Sendable () -> Bool

    package init(seconds: Int, isCancelled: @escaping @Sendable () -> Bool = { false }) {
        deadline = .now + .seconds(seconds)
        self.isCancelled = isCancelled
    }

    package enum Interruption: Error { case timedOut, cancelled }

    /// The next slice of the time that is left, in milliseconds: short, so that a cancellation is noticed.
    package func slice() throws(Interruption) -> Int32 {
        guard !isCancelled() else { throw .cancelled }
        let left = deadline - .now
        guard left > .zero else { throw .timedOut }
        return left < .milliseconds(50) ? 10 : 50
    }
}
