package import Foundation

// Daylight saving time: `from` and `to` each mean the first instant at which the wall clock shows them, or, when it skips
// them, the next valid minute. So a window whose beginning is skipped opens late; one that is skipped as a whole does not
// open on that day.

extension RotationWindow {
    /// Whether a rotation may start at `date`.
    package func contains(_ date: Date, in zone: TimeZone) -> Bool {
        closing(for: date, in: zone) != nil
    }

    /// `date` itself when it is inside the window, else the time at which the window opens next.
    package func nextOpening(atOrAfter date: Date, in zone: TimeZone) -> Date {
        guard let seconds = date.flooredSeconds else { return date }
        let clock = ZoneClock(zone: zone)
        // Every week has an opening, unless the clocks skip it; three weeks are never all skipped.
        for day in Self.days(around: seconds, clock, ahead: 28) {
            guard let span = span(openingOn: day, clock) else { continue }
            if span.contains(seconds) { return date }
            if span.lowerBound > seconds { return Date(wholeSeconds: span.lowerBound) }
        }
        return date
    }

    /// When the opening that `date` lies in ends, the first instant outside; `nil` when `date` is outside the window.
    /// Openings that touch, such as whole days in a row, are told apart.
    package func closing(for date: Date, in zone: TimeZone) -> Date? {
        guard let seconds = date.flooredSeconds else { return nil }
        let clock = ZoneClock(zone: zone)
        return Self.days(around: seconds, clock, ahead: 1)
            .lazy
            .compactMap { span(openingOn: $0, clock) }
            .first { $0.contains(seconds) }
            .map { Date(wholeSeconds: $0.upperBound) }
    }

    /// Whether the window passes midnight.
    package var passesMidnight: Bool { to.minutes <= from.minutes }

    /// Day numbers that an opening around `instant` may belong to: from two days before, since a window may pass midnight
    /// and a zone may drop a whole day.
    private static func days(around instant: Int64, _ clock: ZoneClock, ahead: Int64) -> ClosedRange<Int64> {
        let today = (instant + clock.offset(at: instant)).flooredQuotient(86_400)
        return (today - 2)...(today + ahead)
    }

    /// The instants of the opening that belongs to a day; `nil` when there is none.
    private func span(openingOn day: Int64, _ clock: ZoneClock) -> Range<Int64>? {
        guard days.contains(Weekdays(number: CivilDay.weekday(ofNumber: day))) else { return nil }
        let midnight = day * 86_400
        let opens = clock.instant(ofLocal: midnight + Int64(from.minutes) * 60)
        let closes = clock.instant(ofLocal: midnight + Int64(to.minutes + (passesMidnight ? 1_440 : 0)) * 60)
        return opens < closes ? opens..<closes : nil
    }
}
