/// A cron expression of five fields: minute, hour, day of month, month, day of week.
///
/// **Syntax.** A field is a list, by commas, of `*`, a value, a range `a-b`, or one of these with a step: `*/5`,
/// `1-10/2`. `5/15` means `5-59/15`, as croniter and Quartz read it (Vixie cron refuses it). Months and weekdays have
/// English names of three letters in any case. 0 and 7 are Sunday, and a range of weekdays may end with either:
/// `fri-sun`. `@yearly`, `@annually`, `@monthly`, `@weekly`, `@daily`, `@midnight` and `@hourly` stand for their usual
/// expressions. Ranges that run backwards and steps wider than the field are errors, since they are mistakes more often
/// than not; so is an expression that can never match, such as 30 February.
///
/// **Days** are joined as Vixie cron joins them: when neither day field begins with `*`, a day matches if either field
/// does; when one begins with `*` (`*/2` too), both must match.
///
/// **Daylight saving time.** An expression whose minute or hour field begins with `*` follows elapsed time, as in
/// Vixie cron: it fires at every instant at which the wall clock shows a matching time, so it fires again in an hour
/// that repeats, and nothing is added for times that are skipped. `*/30 2 * * *` is such an expression: it has no run
/// on the day on which 02:00-03:00 is skipped. All other expressions name fixed times of day: a time that is skipped
/// fires at the next valid minute (all skipped times, and a match at that minute, are one run), and a time that repeats
/// fires the first time only.
package struct CronExpression: Hashable, Sendable {
    /// The text as written, without blanks around it.
    package let text: String

    /// Whether the expression follows elapsed time over a change of the clocks; see the type's description.
    package let followsElapsedTime: Bool

    let minutes: CronValues
    let hours: CronValues
    let daysOfMonth: CronValues
    let months: CronValues
    let daysOfWeek: CronValues

    /// Whether a day must match both day fields, not one of them.
    let needsBothDays: Bool
}

/// A set of numbers in `0...63`.
struct CronValues: Hashable, Sendable {
    private(set) var bits: UInt64 = 0

    mutating func insert(_ value: Int) { bits |= 1 << UInt64(value) }

    func contains(_ value: Int) -> Bool { bits >> UInt64(value) & 1 == 1 }

    /// The least member that is not below `value`.
    func first(from value: Int) -> Int? {
        // The shift gives 0 when value is 64 or more.
        let rest = bits >> UInt64(value)
        return rest == 0 ? nil : value + rest.trailingZeroBitCount
    }
}

extension CronExpression: CustomStringConvertible {
    package var description: String { text }
}

extension CronExpression: Codable {
    package init(from decoder: any Decoder) throws {
        try self.init(decoder.singleValueContainer().decode(String.self))
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(text)
    }
}
