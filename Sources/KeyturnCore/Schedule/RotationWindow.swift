/// The times of the week at which a rotation may start by itself, on the wall clock of the policy's zone.
///
/// On each of its days the window opens at `from` and closes at `to`, which is outside it. When `to` is not later than
/// `from` the window passes midnight and belongs to the day on which it opens: `fri`, `22:00` to `04:00` ends on
/// Saturday.
package struct RotationWindow: Hashable, Sendable {
    /// What yields when the window and the last safe start of a rotation conflict.
    package enum OnConflict: String, Codable, Sendable, CaseIterable {
        /// The deadline decides: the rotation starts outside the window rather than too late.
        case deadline
        /// The window decides: never outside it, even if the key expires.
        case window
    }

    package let days: Weekdays
    package let from: TimeOfDay
    package let to: TimeOfDay
    package let onConflict: OnConflict

    /// - Throws: ``InvalidRotationWindow`` when there are no days, when `from` is 24:00, or when both times are the same
    ///   (a whole day is `00:00` to `24:00`).
    package init(
        days: Weekdays, from: TimeOfDay, to: TimeOfDay, onConflict: OnConflict
    ) throws(InvalidRotationWindow) {
        guard !days.isEmpty else {
            throw InvalidRotationWindow(
                text: "", column: 0, reason: "it has no days; name some, such as mon-thu, or daily")
        }
        guard from.minutes < 1_440 else {
            throw InvalidRotationWindow(
                text: from.description, column: 0, reason: "no window opens at 24:00; write 00:00 and the next day")
        }
        guard from != to else {
            throw InvalidRotationWindow(
                text: to.description, column: 0,
                reason: "it closes at the minute at which it opens; for whole days write from 00:00 to 24:00")
        }
        self.days = days
        self.from = from
        self.to = to
        self.onConflict = onConflict
    }
}

extension RotationWindow: CustomStringConvertible {
    /// `mon-thu 02:00-05:00`
    package var description: String { "\(days) \(from)-\(to)" }
}

extension RotationWindow: Codable {
    private enum CodingKeys: CodingKey {
        case days, from, to, onConflict
    }

    package init(from decoder: any Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        try self.init(
            days: container.decode(Weekdays.self, forKey: .days),
            from: container.decode(TimeOfDay.self, forKey: .from),
            to: container.decode(TimeOfDay.self, forKey: .to),
            onConflict: container.decode(OnConflict.self, forKey: .onConflict))
    }
}

/// A text that is no part of a rotation window, where, and why.
package struct InvalidRotationWindow: Error, Hashable, CustomStringConvertible {
    package let text: String
    /// Offset of the fault in `text`, in Unicode scalars from 0.
    package let column: Int
    package let reason: String

    package var description: String { "\"\(text)\" is not valid in a rotation window: \(reason)" }
}
