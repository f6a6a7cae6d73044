/// A minute of the day on a wall clock, `00:00` to `24:00`; the last is the end of the day.
package struct TimeOfDay: Hashable, Sendable {
    /// Minutes since midnight, in `0...1440`.
    package let minutes: Int

    /// `nil` when `minutes` is not in `0...1440`.
    package init?(minutes: Int) {
        guard (0...1_440).contains(minutes) else { return nil }
        self.minutes = minutes
    }

    /// Parses `HH:MM`, from `00:00` to `24:00`.
    ///
    /// - Throws: ``InvalidRotationWindow`` with the column of the first fault.
    package init(_ text: String) throws(InvalidRotationWindow) {
        let scalars = Array(text.unicodeScalars)
        let digits = scalars.map(\.decimalDigit)
        guard scalars.count == 5, scalars[2] == ":",
            let tens = digits[0], let ones = digits[1], let minuteTens = digits[3], let minuteOnes = digits[4]
        else {
            throw InvalidRotationWindow(
                text: text, column: 0, reason: "it is not a time of day; write HH:MM in quotes, such as \"02:00\"")
        }
        let (hour, minute) = (tens * 10 + ones, minuteTens * 10 + minuteOnes)
        guard hour <= 24 else {
            throw InvalidRotationWindow(text: text, column: 0, reason: "the hour is out of range; allowed is 00-24")
        }
        guard minute <= 59 else {
            throw InvalidRotationWindow(text: text, column: 3, reason: "the minute is out of range; allowed is 00-59")
        }
        guard let time = TimeOfDay(minutes: hour * 60 + minute) else {
            throw InvalidRotationWindow(text: text, column: 3, reason: "24:00 is the last time of a day")
        }
        self = time
    }
}

extension TimeOfDay: CustomStringConvertible {
    /// `HH:MM`.
    package var description: String {
        let (hour, minute) = minutes.quotientAndRemainder(dividingBy: 60)
        return "\(hour / 10)\(hour % 10):\(minute / 10)\(minute % 10)"
    }
}

extension TimeOfDay: Codable {
    package init(from decoder: any Decoder) throws {
        try self.init(decoder.singleValueContainer().decode(String.self))
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
