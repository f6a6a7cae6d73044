/// A day of the proleptic Gregorian calendar, without a zone: number 0 is 1970-01-01.
///
/// Only arithmetic: Foundation's `Calendar` would cost a lookup in a zone for each question.
struct CivilDay: Equatable {
    let year: Int
    /// 1...12
    let month: Int
    /// 1...31
    let day: Int

    init(year: Int, month: Int, day: Int) {
        self.year = year
        self.month = month
        self.day = day
    }

    /// The day that lies `number` days after 1970-01-01.
    ///
    /// Counts in years that begin in March, so that the leap day is the last of its year: such years repeat every 400
    /// (146 097 days), and their months have the lengths 31 30 31 30 31, twice, then 31 and the rest.
    init(number: Int64) {
        let sinceMarch0000 = number + 719_468
        let era = sinceMarch0000.flooredQuotient(146_097)
        let dayOfEra = Int(sinceMarch0000 - era * 146_097)
        let yearOfEra = (dayOfEra - dayOfEra / 1_460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let marchMonth = (5 * dayOfYear + 2) / 153
        day = dayOfYear - (153 * marchMonth + 2) / 5 + 1
        month = marchMonth < 10 ? marchMonth + 3 : marchMonth - 9
        year = Int(era) * 400 + yearOfEra + (month <= 2 ? 1 : 0)
    }

    /// Days since 1970-01-01; the inverse of ``init(number:)``.
    var number: Int64 {
        let marchYear = Int64(month <= 2 ? year - 1 : year)
        let era = marchYear.flooredQuotient(400)
        let yearOfEra = marchYear - era * 400
        let marchMonth = Int64(month > 2 ? month - 3 : month + 9)
        let dayOfYear = (153 * marchMonth + 2) / 5 + Int64(day) - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
    }

    /// The weekday of a day number: 0 is Sunday, 6 Saturday.
    static func weekday(ofNumber number: Int64) -> Int {
        // 1970-01-01 was a Thursday.
        Int((number + 4).flooredRemainder(7))
    }

    static func length(ofMonth month: Int, year: Int) -> Int {
        switch month {
        case 2: isLeap(year) ? 29 : 28
        case 4, 6, 9, 11: 30
        default: 31
        }
    }

    private static func isLeap(_ year: Int) -> Bool {
        year.isMultiple(of: 4) && (!year.isMultiple(of: 100) || year.isMultiple(of: 400))
    }
}

extension Int64 {
    /// The quotient rounded towards minus infinity; `divisor` is positive.
    func flooredQuotient(_ divisor: Int64) -> Int64 {
        let quotient = self / divisor
        return self % divisor < 0 ? quotient - 1 : quotient
    }

    /// The remainder in `0..<divisor`; `divisor` is positive.
    func flooredRemainder(_ divisor: Int64) -> Int64 {
        let remainder = self % divisor
        return remainder < 0 ? remainder + divisor : remainder
    }
}
