package import Foundation
package import KeyturnCore
import Synchronization

/// Time in the test's hand: it stands still until it is set, and a sleep moves it on by what was asked for.
package final class ManualTimekeeper: Timekeeper {
    private let date: Mutex<Date>
    /// What the wall clock shows less the time that truly passed since 1970, in seconds.
    private let leapt = Mutex(0.0)
    private let boots = Mutex(1)

    package init(startingAt date: Date) { self.date = Mutex(date) }

    /// Each look is a millionth of a second later than the one before, as with a real clock.
    package func now() -> Date {
        date.withLock { date in
            date += 0.000_001
            return date
        }
    }

    /// Lets time pass until then.
    package func set(_ now: Date) { date.withLock { $0 = now } }

    /// Sets the wall clock forward or back, while no time passes.
    package func leap(by seconds: Double) {
        date.withLock { $0 += seconds }
        leapt.withLock { $0 += seconds }
    }

    /// The machine is started anew.
    package func restart() { boots.withLock { $0 += 1 } }

    package func reading() -> ClockReading {
        let now = now()
        return ClockReading(
            wall: now, uptime: now.timeIntervalSince1970 - leapt.withLock { $0 },
            boot: "boot \(boots.withLock { $0 })")
    }

    /// Short waits, such as those between two questions, pass at once and move the clock; a cancelled task throws.
    package func sleep(for duration: Duration) async throws {
        try Task.checkCancellation()
        await Task.yield()
        // The watch over a stop sleeps a tenth of a second at a time, for as long as the work lasts: it moves nothing.
        guard duration > .milliseconds(100) else {
            try await Task.sleep(for: .milliseconds(1), clock: .continuous)
            return
        }
        let seconds = Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
        date.withLock { $0 += seconds }
    }
}
