package import Foundation

/// The last time that was believed, as the journal keeps it.
package struct ClockMark: Sendable, Codable, Equatable {
    /// What the clocks showed when they were believed last.
    package let believed: ClockReading
    /// What they showed last, believed or not.
    package let seen: ClockReading
    /// Leaps forward, newest last.
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

    /// - Parameter seen: what the clocks show now, where that is not believed.
    package init(
        _ believed: ClockReading, seen: ClockReading? = nil, steps: [Step] = [], disagreement: Disagreement? = nil
    ) {
        self.believed = believed
        self.seen = seen ?? believed
        self.steps = steps
        self.disagreement = disagreement
    }

    package var wall: Date { believed.wall }

    /// Seconds that the wall clock shows since `date` and that did not pass.
    package func leapt(since date: Date) -> Double {
        steps.filter { $0.at > date }.reduce(0) { $0 + $1.by }
    }
}
