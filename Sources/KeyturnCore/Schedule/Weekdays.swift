/// A set of weekdays. Prints as it is written in policies: `daily`, `mon-thu`, `mon,wed`.
package struct Weekdays: OptionSet, Hashable, Sendable {
    /// Bit 0 is Sunday, bit 6 Saturday.
    package let rawValue: UInt8

    /// Bits beyond the seven days are dropped.
    package init(rawValue: UInt8) { self.rawValue = rawValue & 0b111_1111 }

    package static let sunday = Weekdays(rawValue: 1)
    package static let monday = Weekdays(rawValue: 1 << 1)
    package static let tuesday = Weekdays(rawValue: 1 << 2)
    package static let wednesday = Weekdays(rawValue: 1 << 3)
    package static let thursday = Weekdays(rawValue: 1 << 4)
    package static let friday = Weekdays(rawValue: 1 << 5)
    package static let saturday = Weekdays(rawValue: 1 << 6)
    package static let daily = Weekdays(rawValue: 0b111_1111)

    /// The day with this number: 0 is Sunday, 6 Saturday.
    init(number: Int) { self.init(rawValue: 1 << UInt8(number.quotientAndRemainder(dividingBy: 7).remainder)) }

    private static let names = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]

    /// Parses `daily`, `*`, or a list, by commas, of days (`mon`) and ranges (`mon-thu`). A range may pass the end of the
    /// week: `sat-mon`. Names are English, of three letters, in any case; blanks around them are ignored.
    ///
    /// - Throws: ``InvalidRotationWindow`` with the column of the first fault.
    package init(_ text: String) throws(InvalidRotationWindow) {
        let scalars = Array(text.unicodeScalars)
        var days = Weekdays()
        for item in scalars.split(separator: ",", omittingEmptySubsequences: false) {
            let ends = item.split(separator: "-", omittingEmptySubsequences: false).map(CronWord.init(scalars:))
            let names = ends.map(\.trimmed)
            if names.count == 1, ["daily", "*"].contains(names[0].text.lowercased()) {
                days = .daily
                continue
            }
            guard names.count <= 2 else {
                throw InvalidRotationWindow(
                    text: text, column: names[2].column, reason: "a range has two ends; write mon-thu")
            }
            var numbers: [Int] = []
            for name in names {
                guard let number = Self.names.firstIndex(of: name.text.lowercased()) else {
                    let what = name.text.isEmpty ? "a weekday is missing" : "\"\(name.text)\" is not a weekday"
                    throw InvalidRotationWindow(
                        text: text, column: name.column,
                        reason: "\(what); use mon, tue, wed, thu, fri, sat, sun, a range such as mon-thu, or daily")
                }
                numbers.append(number)
            }
            guard let first = numbers.first, let last = numbers.last else { continue }
            for number in first...(last < first ? last + 7 : last) { days.insert(Weekdays(number: number)) }
        }
        self = days
    }
}

extension Weekdays: CustomStringConvertible {
    package var description: String {
        if self == .daily { return "daily" }
        // Days in a row, Monday first.
        var runs: [[String]] = []
        var wasMember = false
        for number in 1...7 {
            let isMember = contains(Weekdays(number: number))
            if isMember {
                if wasMember {
                    runs[runs.count - 1].append(Self.names[number % 7])
                } else {
                    runs.append([Self.names[number % 7]])
                }
            }
            wasMember = isMember
        }
        return runs.map { $0.count > 2 ? "\($0[0])-\($0[$0.count - 1])" : $0.joined(separator: ",") }
            .joined(separator: ",")
    }
}

extension Weekdays: Codable {
    package init(from decoder: any Decoder) throws {
        try self.init(decoder.singleValueContainer().decode(String.self))
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}

extension CronWord {
    /// Without the blanks around it.
    fileprivate var trimmed: CronWord {
        func isBlank(_ scalar: Unicode.Scalar) -> Bool { scalar == " " || scalar == "\t" }
        let rest = scalars.drop(while: isBlank)
        let end = rest.lastIndex { !isBlank($0) }.map { $0 + 1 } ?? rest.startIndex
        return CronWord(scalars: rest[rest.startIndex..<end])
    }
}
