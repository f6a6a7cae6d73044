extension PolicyDuration {
    /// Parses `90s`, `15m`, `36h`, `30d`, `2w` or a sum such as `1d12h`.
    ///
    /// - Throws: ``InvalidDuration`` with the column of the first fault.
    package init(_ text: String) throws(InvalidDuration) {
        let scalars = Array(text.unicodeScalars)
        guard !scalars.isEmpty else {
            throw InvalidDuration(text: text, column: 0, reason: "it is empty; write for example 90s, 36h or 30d")
        }
        var total: Int64 = 0
        var index = 0
        var previous: (unit: DurationUnit, letter: Unicode.Scalar)?
        while index < scalars.count {
            let start = index
            let number = try Self.number(in: scalars, at: &index, of: text)
            guard index < scalars.count else {
                throw InvalidDuration(
                    text: text, column: start, reason: "\(number) has no unit; add one of w, d, h, m, s")
            }
            let letter = scalars[index]
            guard let unit = DurationUnit(letter) else {
                throw InvalidDuration(text: text, column: index, reason: Self.unknownUnit(letter))
            }
            if let previous, previous.unit <= unit {
                let reason =
                    previous.unit == unit
                    ? "the unit \(letter) appears twice"
                    : "\(letter) comes after \(previous.letter); write units from large to small (w, d, h, m, s)"
                throw InvalidDuration(text: text, column: index, reason: reason)
            }
            let (product, overflowed) = number.multipliedReportingOverflow(by: unit.rawValue)
            // total is at most maximumSeconds here, so the subtraction cannot overflow.
            guard !overflowed, product <= Self.maximumSeconds - total else {
                throw InvalidDuration(text: text, column: start, reason: Self.tooLong)
            }
            total += product
            previous = (unit, letter)
            index += 1
        }
        guard let duration = PolicyDuration(seconds: total) else {
            throw InvalidDuration(text: text, column: 0, reason: "it must be longer than zero")
        }
        self = duration
    }

    private static let tooLong = "it is longer than 100 years (36525d)"

    private static func number(
        in scalars: [Unicode.Scalar], at index: inout Int, of text: String
    ) throws(InvalidDuration) -> Int64 {
        let start = index
        var number: Int64 = 0
        while index < scalars.count, let digit = scalars[index].decimalDigit {
            let (shifted, overflowed) = number.multipliedReportingOverflow(by: 10)
            let (sum, overflowedToo) = shifted.addingReportingOverflow(Int64(digit))
            guard !overflowed, !overflowedToo else {
                throw InvalidDuration(text: text, column: start, reason: tooLong)
            }
            number = sum
            index += 1
        }
        guard index > start else {
            let found = scalars[index]
            let reason =
                found == "-" || found == "+"
                ? "a duration has no sign"
                : "a whole number is expected here, not \"\(found)\""
            throw InvalidDuration(text: text, column: start, reason: reason)
        }
        return number
    }

    private static func unknownUnit(_ letter: Unicode.Scalar) -> String {
        switch letter {
        case ".", ",": "only whole numbers are allowed; write 1h30m, not 1.5h"
        case "y", "Y": "there is no unit for years; write days, such as 365d"
        case "M": "there is no unit for months; write days, such as 30d (m is minutes)"
        case "W", "D", "H", "S": "units are lower-case: w, d, h, m, s"
        case " ", "\t": "spaces are not allowed between a number and its unit; write 1d12h"
        default: "\"\(letter)\" is not a unit; use one of w, d, h, m, s"
        }
    }
}

/// The units of a duration; the raw value is the length in seconds.
private enum DurationUnit: Int64, Comparable {
    case second = 1
    case minute = 60
    case hour = 3_600
    case day = 86_400
    case week = 604_800

    init?(_ letter: Unicode.Scalar) {
        switch letter {
        case "s": self = .second
        case "m": self = .minute
        case "h": self = .hour
        case "d": self = .day
        case "w": self = .week
        default: return nil
        }
    }

    static func < (left: DurationUnit, right: DurationUnit) -> Bool { left.rawValue < right.rawValue }
}

/// A text that is not a duration, where, and why.
package struct InvalidDuration: Error, Hashable, CustomStringConvertible {
    package let text: String
    /// Offset of the fault in `text`, in Unicode scalars from 0.
    package let column: Int
    package let reason: String

    package var description: String { "\"\(text)\" is not a duration: \(reason)" }
}
