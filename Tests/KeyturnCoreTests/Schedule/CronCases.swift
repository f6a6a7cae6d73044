@testable import KeyturnCore

/// Random expressions that are valid and can fire.
enum CronCases {
    static let zones = [
        "UTC", "Europe/Oslo", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "Pacific/Apia",
        "Asia/Kathmandu", "Asia/Kolkata", "Pacific/Chatham", "America/St_Johns", "Asia/Tokyo", "Africa/Johannesburg",
        "Europe/London", "America/Los_Angeles", "Australia/Sydney",
    ]

    static func any(using generator: inout SeededGenerator) throws -> String {
        while true {
            let fields = try CronField.allCases.map { field in
                generator.chance(field == .minute || field == .hour ? 20 : 45)
                    ? "*" : try text(field, using: &generator)
            }
            let expression = fields.joined(separator: " ")
            // 31 April and its kin.
            if (try? CronExpression(expression)) != nil { return expression }
        }
    }

    /// Runs on most days, mostly within the hours at which clocks change.
    static func nearMidnight(using generator: inout SeededGenerator) throws -> String {
        let minute =
            generator.chance(30)
            ? "*/\(Int.random(in: 5...45, using: &generator))" : try text(.minute, using: &generator)
        let hour = try generator.pick([
            "0", "1", "2", "3", "0-3", "1,2", "2-4", "23", "22-23", "*", "*/2", "*/3", "0,12",
        ])
        let days = try generator.pick(["* * *", "* * *", "* * *", "*/2 * *", "* * sat-sun", "30,31 * 0-4", "* * 5"])
        return "\(minute) \(hour) \(days)"
    }

    private static func text(_ field: CronField, using generator: inout SeededGenerator) throws -> String {
        let count = generator.chance(70) ? 1 : Int.random(in: 2...3, using: &generator)
        return try (0..<count).map { try item(field, isFirst: $0 == 0, using: &generator) }.joined(
            separator: ",")
    }

    private static func item(
        _ field: CronField, isFirst: Bool, using generator: inout SeededGenerator
    ) throws -> String {
        let range = field.range.lowerBound...field.lastOfStar
        let low = Int.random(in: range, using: &generator)
        let step = Int.random(in: 2...max(2, field.range.upperBound / 2), using: &generator)
        switch Int.random(in: 0..<10, using: &generator) {
        case 0 where isFirst,
            1 where isFirst:
            return "*/\(step)"
        case 2, 3, 4:
            guard low < range.upperBound else { return "\(low)" }
            let high = Int.random(in: (low + 1)...field.range.upperBound, using: &generator)
            let end = "\(name(low, field, using: &generator))-\(name(high, field, using: &generator))"
            return generator.chance(40) ? "\(end)/\(step)" : end
        case 5:
            return "\(low)/\(step)"
        default:
            return name(Int.random(in: field.range, using: &generator), field, using: &generator)
        }
    }

    private static func name(_ value: Int, _ field: CronField, using generator: inout SeededGenerator) -> String {
        let index = value - field.range.lowerBound
        guard field.names.indices.contains(index), generator.chance(40) else { return "\(value)" }
        return generator.chance(50) ? field.names[index] : field.names[index].uppercased()
    }
}
