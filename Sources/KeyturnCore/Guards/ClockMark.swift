package import Foundation

/// The last time that was believed, as the journal keeps it.
package struct ClockMark: Sendable, Codable, Equatable {
    package let wall: Date
    package let uptime: Double
    package let boot: String?
    /// Leaps of the wall clock that were believed, newest last.
    package let steps: [Step]
    /// Since when the clocks disagree, and how.
    package let disagreement: Disagreement?

    /// A leap forward: time that the wall clock shows and that did not pass.
    package struct Step: Sendable, Codable, Equatable {
        /// What the wall clock showed after it.
        package let at: Date
        /// Seconds.
        package let by: Double
    }

    package struct Disagreement: Sendable, Codable, Equatable {
        package let since: Date
        package let sentence: String
    }

    package init(
        _ reading: ClockReading, steps: [Step] = [], disagreement: Disagreement? = nil
    ) {
        self.init(
            wall: reading.wall, uptime: reading.uptime, boot: reading.boot, steps: steps, disagreement: disagreement)
    }

    private init(wall: Date, uptime: Double, boot: String?, steps: [Step], disagreement: Disagreement?) {
        self.wall = wall
        self.uptime = uptime
        self.boot = boot
        self.steps = steps
        self.disagreement = disagreement
    }

    package func with(_ disagreement: Disagreement?) -> ClockMark {
        ClockMark(wall: wall, uptime: uptime, boot: boot, steps: steps, disagreement: disagreement)
    }

    /// Seconds that the wall clock shows since `date` and that did not pass.
    package func leapt(since date: Date) -> Double {
        steps.filter { $0.at > date }.reduce(0) { $0 + $1.by }
    }
}
