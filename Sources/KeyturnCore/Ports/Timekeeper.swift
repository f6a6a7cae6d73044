package import Foundation

#if canImport(Glibc)
    import Glibc
#endif

/// Wall time and waiting, handed in so that tests decide what time it is.
package protocol Timekeeper: Sendable {
    /// The wall clock, UTC.
    func now() -> Date
    /// The wall clock beside the one that counts from the machine's start, for the clock guard.
    func reading() -> ClockReading
    /// Waits on the monotonic clock. Throws `CancellationError` when the task is cancelled.
    func sleep(for duration: Duration) async throws
}

/// The machine's own clocks.
package struct SystemTimekeeper: Timekeeper {
    package init() {}

    package func now() -> Date { Date() }

    package func reading() -> ClockReading {
        var uptime = timespec()
        // Suspension counts: see clock_gettime(2).
        clock_gettime(CLOCK_BOOTTIME, &uptime)
        return ClockReading(
            wall: now(), uptime: Double(uptime.tv_sec) + Double(uptime.tv_nsec) / 1e9, boot: Self.boot)
    }

    /// See random(4): "/proc/sys/kernel/random/boot_id".
    private static let boot = try? String(contentsOfFile: "/proc/sys/kernel/random/boot_id", encoding: .utf8)

    package func sleep(for duration: Duration) async throws {
        try await AlarmClock.shared.sleep(for: duration)
    }
}
