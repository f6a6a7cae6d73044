import Foundation

/// Holds the wall clock against the journal's mark, the uptime clock and what other systems say.
///
/// - A system that says another time, whatever else agrees: the clocks disagree.
/// - Systems that all say the same: the wall clock is believed, also where the mark is ahead of it.
/// - Nobody to ask: the wall clock may neither go back behind the mark nor leap away from the uptime clock.
package struct ClockGuard: Sendable {
    /// How far clocks may differ, in seconds.
    package let tolerance: Double

    /// How long a witness counts, in seconds.
    package static let freshness = 900.0
    private static let keptSteps = 16

    package init(tolerance: Double) { self.tolerance = tolerance }

    /// - Returns: the mark to keep. Its ``ClockMark/disagreement`` is the verdict.
    package func judge(
        _ reading: ClockReading, against mark: ClockMark?, witnesses: [ClockWitness]
    ) -> ClockMark {
        let fresh = witnesses.filter {
            $0.heardAt <= reading.uptime && reading.uptime - $0.heardAt <= Self.freshness
        }
        let offsets = fresh.map { (system: $0.system, seconds: $0.offset(at: reading)) }
        if let worst = offsets.max(by: { abs($0.seconds) < abs($1.seconds) }), abs(worst.seconds) > tolerance {
            let direction = worst.seconds > 0 ? "behind" : "ahead of"
            return disagreeing(
                "this machine's clock is \(Self.words(worst.seconds)) \(direction) that of \(worst.system)", reading,
                mark)
        }
        guard fresh.isEmpty else { return accepting(reading, after: mark) }
        guard let mark else { return ClockMark(reading) }
        if mark.wall.timeIntervalSince(reading.wall) > tolerance {
            return disagreeing(
                "this machine's clock is \(Self.words(mark.wall.timeIntervalSince(reading.wall))) behind the time "
                    + "that the state has seen already", reading, mark)
        }
        if let leap = leap(to: reading, from: mark), abs(leap) > tolerance {
            return disagreeing(
                "this machine's clock leapt \(leap > 0 ? "forward" : "back") by \(Self.words(leap))", reading, mark)
        }
        // Not back, be it by little: the mark is the latest time that was seen.
        return reading.wall < mark.wall ? mark.with(nil) : accepting(reading, after: mark)
    }

    /// The mark once the wall clock is believed, whoever vouches for it. A leap forward is noted: what was to last until
    /// then lasts as much longer.
    package func accepting(_ reading: ClockReading, after mark: ClockMark?) -> ClockMark {
        guard let mark else { return ClockMark(reading) }
        var steps = mark.steps
        if let leap = leap(to: reading, from: mark), leap > tolerance {
            steps.append(ClockMark.Step(at: reading.wall, by: leap))
        }
        return ClockMark(reading, steps: steps.suffix(Self.keptSteps))
    }

    /// Seconds by which the wall clock moved on more than the uptime clock did; `nil` when the machine was started anew.
    private func leap(to reading: ClockReading, from mark: ClockMark) -> Double? {
        guard let boot = reading.boot, boot == mark.boot, reading.uptime >= mark.uptime else { return nil }
        return reading.wall.timeIntervalSince(mark.wall) - (reading.uptime - mark.uptime)
    }

    private func disagreeing(_ sentence: String, _ reading: ClockReading, _ mark: ClockMark?) -> ClockMark {
        let since = mark?.disagreement?.since ?? reading.wall
        return (mark ?? ClockMark(reading)).with(ClockMark.Disagreement(since: since, sentence: sentence))
    }

    private static func words(_ seconds: Double) -> String {
        let seconds = Int64(clamping: Int(min(abs(seconds), 1e12).rounded()))
        return seconds < 7200
            ? "\(seconds / 60) minutes"
            : seconds < 172_800
                ? "\(seconds / 3600) hours" : "\(seconds / 86_400) days"
    }
}
