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
        if let leap = reading.leap(since: mark.believed), abs(leap) > tolerance {
            return disagreeing(
                "this machine's clock leapt \(leap > 0 ? "forward" : "back") by \(Self.words(leap))", reading, mark)
        }
        // Not back, be it by little: the mark is the latest time that was seen.
        return reading.wall < mark.wall
            ? ClockMark(mark.believed, seen: reading, steps: steps(to: reading, from: mark))
            : accepting(reading, after: mark)
    }

    /// The mark once the wall clock is believed, whoever vouches for it.
    package func accepting(_ reading: ClockReading, after mark: ClockMark?) -> ClockMark {
        ClockMark(reading, steps: mark.map { steps(to: reading, from: $0) } ?? [])
    }

    private func disagreeing(_ sentence: String, _ reading: ClockReading, _ mark: ClockMark?) -> ClockMark {
        ClockMark(
            mark?.believed ?? reading, seen: reading, steps: mark.map { steps(to: reading, from: $0) } ?? [],
            disagreement: ClockMark.Disagreement(since: mark?.disagreement?.since ?? reading.wall, sentence: sentence))
    }

    /// A leap forward is noted, be the clock right or wrong after it: what was to last until then lasts as much longer,
    /// also where it began while the clock was behind.
    private func steps(to reading: ClockReading, from mark: ClockMark) -> [ClockMark.Step] {
        let leap =
            reading.leap(since: mark.seen)
            // How much of it passed while the machine was off, nobody knows, once it was wrong before.
            ?? (mark.disagreement == nil ? 0 : reading.wall.timeIntervalSince(mark.seen.wall))
        if leap > tolerance {
            return (mark.steps + [ClockMark.Step(at: reading.wall, by: leap)]).suffix(Self.keptSteps)
        }
        return leap < -tolerance ? undoing(-leap, in: mark.steps, before: reading.wall) : mark.steps
    }

    /// A leap back takes away from those forward that lead beyond the time that it is now. What began since shows a time
    /// that is still to come, and lasts longer by itself.
    private func undoing(_ leap: Double, in steps: [ClockMark.Step], before now: Date) -> [ClockMark.Step] {
        var left = leap
        var kept: [ClockMark.Step] = []
        for step in steps.reversed() {
            guard step.at > now, left > 0 else {
                kept.append(step)
                continue
            }
            if step.by - left > tolerance { kept.append(ClockMark.Step(at: now, by: step.by - left)) }
            left = max(0, left - step.by)
        }
        return kept.reversed()
    }

    private static func words(_ seconds: Double) -> String {
        let seconds = Int64(clamping: Int(min(abs(seconds), 1e12).rounded()))
        return seconds < 7200
            ? "\(seconds / 60) minutes"
            : seconds < 172_800
                ? "\(seconds / 3600) hours" : "\(seconds / 86_400) days"
    }
}
