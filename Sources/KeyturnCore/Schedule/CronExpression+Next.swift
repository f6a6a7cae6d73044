package import Foundation

extension CronExpression {
    /// The first time strictly after `date` at which the expression fires on the wall clocks of `zone`: a whole minute.
    /// The type's description says what happens when clocks change.
    ///
    /// `nil` when nothing fires within 40 years (the longest wait of an expression that can match at all: 29 February
    /// on one weekday, over a year such as 2100), or when `date` is not a number or tens of thousands of years away.
    /// It jumps from match to match, so the work is small and bounded whatever the expression.
    package func next(after date: Date, in zone: TimeZone) -> Date? {
        guard let seconds = date.flooredSeconds else { return nil }
        let clock = ZoneClock(zone: zone)
        let instant =
            followsElapsedTime
            ? firstElapsed(from: seconds + 1, clock) : firstFixed(from: seconds + 1, clock)
        return instant.map(Date.init(wholeSeconds:))
    }

    /// Walks the matching local times in order; their instants never fall, so the first that is late enough is it.
    private func firstFixed(from instant: Int64, _ clock: ZoneClock) -> Int64? {
        var local = instant + clock.offset(at: instant)
        // Only local times that repeat can be too early: at most a day's worth.
        for _ in 0...1_440 {
            guard let match = firstLocalMatch(from: local) else { return nil }
            let fires = clock.instant(ofLocal: match)
            if fires >= instant { return fires }
            local = match + 1
        }
        return nil
    }

    /// Goes over the stretches between changes of the zone's offset, within which local time is elapsed time.
    private func firstElapsed(from instant: Int64, _ clock: ZoneClock) -> Int64? {
        let hour: Int64 = 3_600
        var start = instant
        // Far more rounds than 40 years need, and an end should a zone be stranger than any known.
        for _ in 0..<1_000 {
            let offset = clock.offset(at: start)
            guard let match = firstLocalMatch(from: start + offset) else { return nil }
            let candidate = match - offset
            let end = start + 48 * hour
            if let change = clock.change(after: start, through: end) {
                if candidate < change { return candidate }
                start = change
            } else if candidate <= end {
                return candidate
            } else {
                // Clocks were never put forward by more than a day, so nothing that matches lies before this.
                start = max(end, candidate - 36 * hour)
            }
        }
        return nil
    }

    /// The first matching local time, in seconds, that is not before `local`; at most 40 calendar years away.
    private func firstLocalMatch(from local: Int64) -> Int64? {
        let minute = (local + 59).flooredQuotient(60)
        let today = minute.flooredQuotient(1_440)
        if matches(CivilDay(number: today), number: today),
            let match = firstMinute(from: Int(minute - today * 1_440))
        {
            return today * 86_400 + Int64(match) * 60
        }
        guard let day = firstDay(from: today + 1), let match = firstMinute(from: 0) else { return nil }
        return day * 86_400 + Int64(match) * 60
    }

    /// The first matching minute of a day, counted from midnight.
    private func firstMinute(from minute: Int) -> Int? {
        if hours.contains(minute / 60), let match = minutes.first(from: minute % 60) {
            return minute / 60 * 60 + match
        }
        guard let hour = hours.first(from: minute / 60 + 1), let match = minutes.first(from: 0) else { return nil }
        return hour * 60 + match
    }

    private func firstDay(from number: Int64) -> Int64? {
        let start = CivilDay(number: number)
        for year in start.year...(start.year + 40) {
            var month = year == start.year ? start.month : 1
            while let match = months.first(from: month) {
                let isFirst = year == start.year && match == start.month
                let firstOfMonth = CivilDay(year: year, month: match, day: 1).number
                let length = CivilDay.length(ofMonth: match, year: year)
                for day in stride(from: isFirst ? start.day : 1, through: length, by: 1) {
                    let candidate = firstOfMonth + Int64(day - 1)
                    if matchesDay(day, weekday: CivilDay.weekday(ofNumber: candidate)) { return candidate }
                }
                month = match + 1
            }
        }
        return nil
    }

    private func matches(_ day: CivilDay, number: Int64) -> Bool {
        months.contains(day.month) && matchesDay(day.day, weekday: CivilDay.weekday(ofNumber: number))
    }

    private func matchesDay(_ day: Int, weekday: Int) -> Bool {
        needsBothDays
            ? daysOfMonth.contains(day) && daysOfWeek.contains(weekday)
            : daysOfMonth.contains(day) || daysOfWeek.contains(weekday)
    }
}
