package import Foundation

/// Wall time and waiting, handed in so that tests decide what time it is.
package protocol Timekeeper: Sendable {
    /// The wall clock, UTC.
    func now() -> Date
    /// Waits on the monotonic clock. Throws `CancellationError` when the task is cancelled.
    func sleep(for duration: Duration) async throws
}

/// The machine's own clocks.
package struct SystemTimekeeper: Timekeeper {
    package init() {}

    package func now() -> Date { Date() }

    package func sleep(for duration: Duration) async throws {
        try await AlarmClock.shared.sleep(for: duration)
    }
}
