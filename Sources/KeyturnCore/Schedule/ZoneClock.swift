import Foundation

/// Turns instants into local times and back, in one zone. Both are whole seconds: an instant counts from 1970 in UTC, a
/// local time counts as if the wall clock were UTC.
///
/// It asks the zone only for its offset at an instant, which every `TimeZone` answers quickly and without a calendar.
/// It takes for granted that a zone changes its offset at most once within two days, as the history of all zones shows.
struct ZoneClock {
    let zone: TimeZone

    /// Seconds that local time is ahead of UTC at `instant`.
    func offset(at instant: Int64) -> Int64 {
        Int64(zone.secondsFromGMT(for: Date(timeIntervalSince1970: TimeInterval(instant))))
    }

    /// The instant at which the wall clock shows `local`: the first, where it shows it twice; the first instant after the
    /// gap, rounded up to a whole local minute, where the clock skips over it.
    ///
    /// Never falls as `local` rises.
    func instant(ofLocal local: Int64) -> Int64 {
        // No zone has ever been further from UTC than this, so the change of offset that matters lies in between.
        let reach: Int64 = 16 * 3_600
        let earliest = local - reach
        let before = offset(at: earliest)
        guard let change = change(after: earliest, through: local + reach) else { return local - before }
        if local - before < change { return local - before }
        let after = offset(at: change)
        if local - after >= change { return local - after }
        return change + (-(change + after)).flooredRemainder(60)
    }

    /// The first instant in `start + 1 ... end` with another offset than `start`; `nil` when start and end agree. They
    /// are at most two days apart.
    func change(after start: Int64, through end: Int64) -> Int64? {
        let before = offset(at: start)
        guard offset(at: end) != before else { return nil }
        var same = start
        var other = end
        while other - same > 1 {
            let middle = same + (other - same) / 2
            if offset(at: middle) == before { same = middle } else { other = middle }
        }
        return other
    }
}

extension Date {
    /// Whole seconds since 1970, rounded down; `nil` for dates tens of thousands of years away and for those that are not
    /// numbers, so that no conversion traps.
    var flooredSeconds: Int64? {
        let seconds = timeIntervalSince1970.rounded(.down)
        guard seconds.magnitude < 1e12 else { return nil }
        return Int64(seconds)
    }

    init(wholeSeconds seconds: Int64) {
        self.init(timeIntervalSince1970: TimeInterval(seconds))
    }
}
