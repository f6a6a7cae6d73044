package import Foundation

/// Times as exports and checkpoints write them: RFC 3339 in UTC with milliseconds, in one spelling only, so that a line
/// that is read and written again is the same.
package enum AuditTime {
    package static func text(_ date: Date) -> String {
        let (day, rest) = milliseconds(date).dividedByDay
        let civil = CivilDay(number: day)
        return "\(digits(civil.year, 4))-\(digits(civil.month, 2))-\(digits(civil.day, 2))T"
            + "\(digits(rest / 3_600_000, 2)):\(digits(rest / 60_000 % 60, 2)):\(digits(rest / 1000 % 60, 2))"
            + ".\(digits(rest % 1000, 3))Z"
    }

    /// `nil` for anything that ``text(_:)`` did not write.
    package static func date(_ text: String) -> Date? {
        let bytes = Array(text.utf8)
        guard bytes.count == 24 else { return nil }
        func number(_ range: Range<Int>) -> Int? {
            range.reduce(Optional(0)) { sum, index in
                let byte = bytes[index]
                guard let sum, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) else { return nil }
                return sum * 10 + Int(byte - UInt8(ascii: "0"))
            }
        }
        guard let year = number(0..<4), let month = number(5..<7), let day = number(8..<10), let hour = number(11..<13),
            let minute = number(14..<16), let second = number(17..<19), let fraction = number(20..<23)
        else { return nil }
        let days = CivilDay(year: year, month: month, day: day).number
        let inDay = Int64(((hour * 60 + minute) * 60 + second) * 1000 + fraction)
        let date = Date(timeIntervalSince1970: Double(days * 86_400_000 + inDay) / 1000)
        return self.text(date) == text ? date : nil
    }

    /// Whole milliseconds since 1970, from the year 0 to 9999.
    package static func milliseconds(_ date: Date) -> Int64 {
        let range = -62_167_219_200.0...253_402_300_799.0
        return Int64((min(max(date.timeIntervalSince1970, range.lowerBound), range.upperBound) * 1000).rounded())
    }

    private static func digits(_ number: Int, _ width: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, width - text.count)) + text
    }
}

extension Int64 {
    fileprivate var dividedByDay: (day: Int64, rest: Int) {
        (flooredQuotient(86_400_000), Int(flooredRemainder(86_400_000)))
    }
}
