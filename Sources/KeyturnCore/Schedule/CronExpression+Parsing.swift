extension CronExpression {
    /// Parses five fields, or a word such as `@daily`. Blanks around and between fields may be spaces or tabs.
    ///
    /// - Throws: ``InvalidCronExpression`` with the field, the column and the allowed values.
    package init(_ text: String) throws(InvalidCronExpression) {
        let words = Self.words(of: Array(text.unicodeScalars))
        let trimmed = words.map(\.text).joined(separator: " ")
        guard let first = words.first else {
            throw InvalidCronExpression(
                text: text, field: nil, column: 0, reason: "it is empty; write five fields, such as 0 3 * * 1")
        }
        if first.text.hasPrefix("@") {
            guard words.count == 1, let fields = Self.nicknames[first.text.lowercased()] else {
                let known = Self.nicknames.keys.sorted().joined(separator: ", ")
                let reason =
                    words.count == 1
                    ? "\(first.text) is not known here; use one of \(known)" : "\(first.text) must stand alone"
                throw InvalidCronExpression(text: text, field: nil, column: first.column, reason: reason)
            }
            try self.init(words: Self.words(of: Array(fields.unicodeScalars)), source: text, text: first.text)
            return
        }
        try self.init(words: words, source: text, text: trimmed)
    }

    private init(words: [CronWord], source: String, text: String) throws(InvalidCronExpression) {
        guard words.count == CronField.allCases.count else {
            let column = words.count > 5 ? words[5].column : source.unicodeScalars.count
            throw InvalidCronExpression(
                text: source, field: nil, column: column,
                reason: "it has \(words.count) fields; five are needed: minute, hour, day of month, month, day of week")
        }
        func values(_ field: CronField, _ index: Int) throws(InvalidCronExpression) -> CronValues {
            var parser = CronFieldParser(field: field, word: words[index], source: source)
            return try parser.parse()
        }
        func beginsWithStar(_ index: Int) -> Bool { words[index].scalars.first == "*" }

        self.text = text
        minutes = try values(.minute, 0)
        hours = try values(.hour, 1)
        daysOfMonth = try values(.dayOfMonth, 2)
        months = try values(.month, 3)
        daysOfWeek = try values(.dayOfWeek, 4)
        followsElapsedTime = beginsWithStar(0) || beginsWithStar(1)
        needsBothDays = beginsWithStar(2) || beginsWithStar(4)
        guard canMatch else {
            throw InvalidCronExpression(
                text: source, field: .dayOfMonth, column: words[2].column,
                reason: "it can never fire: no month of the month field has such a day")
        }
    }

    /// When a weekday alone is enough, some day always matches. Else some month must be long enough for the first day:
    /// every weekday falls on every date sooner or later, 29 February too.
    private var canMatch: Bool {
        guard needsBothDays, let day = daysOfMonth.first(from: 1) else { return true }
        // 2000 was a leap year.
        return (1...12).contains { months.contains($0) && day <= CivilDay.length(ofMonth: $0, year: 2000) }
    }

    private static let nicknames = [
        "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
        "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
    ]

    private static func words(of scalars: [Unicode.Scalar]) -> [CronWord] {
        scalars.split { $0 == " " || $0 == "\t" }.map(CronWord.init(scalars:))
    }
}

/// A run of characters without blanks. The indices of the slice are columns of the whole expression.
struct CronWord {
    let scalars: ArraySlice<Unicode.Scalar>

    var column: Int { scalars.startIndex }

    var text: String {
        var text = String.UnicodeScalarView()
        text.append(contentsOf: scalars)
        return String(text)
    }
}

/// A text that is not a cron expression, where, and why.
package struct InvalidCronExpression: Error, Hashable, CustomStringConvertible {
    package let text: String
    /// The field at fault; `nil` when the expression as a whole is.
    package let field: CronField?
    /// Offset of the fault in `text`, in Unicode scalars from 0.
    package let column: Int
    /// What is wrong, with the values that are allowed.
    package let reason: String

    package var description: String {
        let place = field.map { " (field \($0.rawValue))" } ?? ""
        return "\"\(text)\" is not a cron expression\(place): \(reason)"
    }
}
