/// How long a conversation with a server may take, and what ends it before.
package struct PostgresPatience: Sendable {
    private let deadline: ContinuousClock.Instant
    private let isCancelled: @Sendable () -> Bool

    package init(seconds: Int, isCancelled: @escaping @Sendable () -> Bool) {
        deadline = .now + .seconds(seconds)
        self.isCancelled = isCancelled
    }

    enum Interruption: Error { case timedOut, cancelled }

    /// The next slice of the time that is left, in milliseconds: short, so that a cancellation is noticed.
    func slice() throws(Interruption) -> Int32 {
        guard !isCancelled() else { throw .cancelled }
        let left = deadline - .now
        guard left > .zero else { throw .timedOut }
        return left < .milliseconds(50) ? 10 : 50
    }
}
