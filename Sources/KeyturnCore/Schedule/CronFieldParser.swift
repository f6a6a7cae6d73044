/// Reads one field of a cron expression.
struct CronFieldParser {
    private let field: CronField
    private let scalars: ArraySlice<Unicode.Scalar>
    private let source: String
    private var index: Int

    init(field: CronField, word: CronWord, source: String) {
        self.field = field
        self.scalars = word.scalars
        self.source = source
        index = word.column
    }

    mutating func parse() throws(InvalidCronExpression) -> CronValues {
        var values = CronValues()
        repeat { try readItem(into: &values) } while take(",")
        if let found = peek { throw unexpected(found, wanted: "a comma or the end of the field") }
        return values
    }

    private mutating func readItem(into values: inout CronValues) throws(InvalidCronExpression) {
        let start = index
        var (low, high) = (field.range.lowerBound, field.lastOfStar)
        var isSingle = false
        if !take("*") {
            low = try readValue()
            if take("-") {
                high = try readValue()
                // A range that ends with Sunday ends the week: fri-sun.
                if field == .dayOfWeek, high == 0, low > 0 { high = 7 }
                guard low <= high else {
                    throw fault(at: start, "the range runs backwards; write it as two, joined by a comma")
                }
            } else {
                high = low
                isSingle = true
            }
        }
        var step = 1
        if take("/") {
            step = try readStep()
            if isSingle { high = max(low, field.lastOfStar) }
        }
        for value in stride(from: low, through: high, by: step) {
            values.insert(field == .dayOfWeek ? value % 7 : value)
        }
    }

    private mutating func readValue() throws(InvalidCronExpression) -> Int {
        let start = index
        if let number = readNumber() {
            guard field.range.contains(number) else {
                throw fault(at: start, "\(text(from: start)) is out of range; allowed is \(field.allowed)")
            }
            return number
        }
        while let scalar = peek, scalar.properties.isAlphabetic { index += 1 }
        guard index > start else { throw unexpected(peek, wanted: "*, or a value of \(field.allowed)") }
        let name = text(from: start)
        guard let position = field.names.firstIndex(of: name.lowercased()) else {
            throw fault(at: start, "\"\(name)\" is not a value; allowed is \(field.allowed)")
        }
        return field.range.lowerBound + position
    }

    private mutating func readStep() throws(InvalidCronExpression) -> Int {
        let start = index
        guard let step = readNumber() else {
            throw unexpected(peek, wanted: "a step of 1-\(field.range.upperBound)")
        }
        guard (1...field.range.upperBound).contains(step) else {
            throw fault(
                at: start, "a step of \(text(from: start)) is out of range; allowed is 1-\(field.range.upperBound)")
        }
        return step
    }

    /// The digits at the index; a number too long to matter reads as 1000, which is in no field's range.
    private mutating func readNumber() -> Int? {
        let start = index
        var number = 0
        while let digit = peek?.decimalDigit {
            number = min(number * 10 + digit, 1_000)
            index += 1
        }
        return index > start ? number : nil
    }

    private var peek: Unicode.Scalar? { index < scalars.endIndex ? scalars[index] : nil }

    private mutating func take(_ scalar: Unicode.Scalar) -> Bool {
        guard peek == scalar else { return false }
        index += 1
        return true
    }

    private func text(from start: Int) -> String { CronWord(scalars: scalars[start..<index]).text }

    private func unexpected(_ found: Unicode.Scalar?, wanted: String) -> InvalidCronExpression {
        let what = found.map { "\"\($0)\" is not expected here" } ?? "the field ends too early"
        return fault(at: index, "\(what); write \(wanted)")
    }

    private func fault(at column: Int, _ reason: String) -> InvalidCronExpression {
        InvalidCronExpression(text: source, field: field, column: column, reason: reason)
    }
}
