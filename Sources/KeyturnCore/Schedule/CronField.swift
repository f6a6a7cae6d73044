/// The five fields of a cron expression, in their order.
package enum CronField: String, CaseIterable, Sendable, Hashable {
    case minute
    case hour
    case dayOfMonth = "day of month"
    case month
    case dayOfWeek = "day of week"

    /// The numbers that may be written; 7 is Sunday as well as 0.
    package var range: ClosedRange<Int> {
        switch self {
        case .minute: 0...59
        case .hour: 0...23
        case .dayOfMonth: 1...31
        case .month: 1...12
        case .dayOfWeek: 0...7
        }
    }

    /// The last value of `*` and of `N/step`: Sunday is not counted twice.
    var lastOfStar: Int { self == .dayOfWeek ? 6 : range.upperBound }

    /// The first of ``names`` stands for the lowest value.
    var names: [String] {
        switch self {
        case .month: ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]
        case .dayOfWeek: ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
        case .minute, .hour, .dayOfMonth: []
        }
    }

    /// What may be written, for messages.
    var allowed: String {
        let numbers = "\(range.lowerBound)-\(range.upperBound)"
        guard let first = names.first, let last = names.last else { return numbers }
        return "\(numbers) or \(first.uppercased())-\(last.uppercased())"
    }
}
