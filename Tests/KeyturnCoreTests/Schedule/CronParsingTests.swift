import Foundation
import Testing

@testable import KeyturnCore

@Suite("Cron: syntax")
struct CronParsingTests {
    private func members(_ values: CronValues) -> [Int] { (0...63).filter(values.contains) }

    @Test(
        arguments: [
            ("*/20 * * * *", [0, 20, 40]), ("1-10/3 * * * *", [1, 4, 7, 10]), ("5/15 * * * *", [5, 20, 35, 50]),
            ("7,3,3-5 * * * *", [3, 4, 5, 7]), ("5-5 * * * *", [5]), ("00,059 * * * *", [0, 59]),
            ("*/59,1 * * * *", [0, 1, 59]), ("58-59/59 * * * *", [58]),
        ] as [(String, [Int])])
    func minutes(text: String, expected: [Int]) throws {
        #expect(try members(CronExpression(text).minutes) == expected)
    }

    @Test(
        arguments: [
            ("*", [0, 1, 2, 3, 4, 5, 6]), ("0", [0]), ("7", [0]), ("sun", [0]), ("FRI-Sun", [0, 5, 6]),
            ("5-7", [0, 5, 6]), ("5-0", [0, 5, 6]), ("0-7", [0, 1, 2, 3, 4, 5, 6]), ("7-7", [0]),
            ("*/2", [0, 2, 4, 6]),
            ("1/2", [1, 3, 5]), ("3-7/2", [0, 3, 5]), ("*/7", [0]), ("mon,wed", [1, 3]), ("sun-tue", [0, 1, 2]),
        ] as [(String, [Int])])
    func weekdays(text: String, expected: [Int]) throws {
        #expect(try members(CronExpression("0 0 * * \(text)").daysOfWeek) == expected)
    }

    @Test func monthsHaveNames() throws {
        #expect(try members(CronExpression("0 0 * jan,Mar-MAY,dec *").months) == [1, 3, 4, 5, 12])
        #expect(try members(CronExpression("0 0 * */5 *").months) == [1, 6, 11])
    }

    @Test(
        arguments: [
            ("@yearly", "0 0 1 1 *"), ("@annually", "0 0 1 1 *"), ("@monthly", "0 0 1 * *"), ("@weekly", "0 0 * * 0"),
            ("@daily", "0 0 * * *"), ("@Midnight", "0 0 * * *"), (" @hourly ", "0 * * * *"),
        ])
    func wordsStandForExpressions(word: String, fields: String) throws {
        let (short, long) = (try CronExpression(word), try CronExpression(fields))
        #expect(short.minutes == long.minutes && short.hours == long.hours && short.months == long.months)
        #expect(short.daysOfMonth == long.daysOfMonth && short.daysOfWeek == long.daysOfWeek)
        #expect(short.followsElapsedTime == long.followsElapsedTime)
        #expect(short.needsBothDays == long.needsBothDays)
    }

    @Test func blanksAreEven() throws {
        #expect(try CronExpression(" \t0  3 *\t* 1 ") == CronExpression("0 3 * * 1"))
    }

    @Test(
        arguments: [
            ("", nil, 0, "five fields"), ("  ", nil, 0, "five fields"), ("0 3 * *", nil, 7, "4 fields"),
            ("0 0 3 * * 1", nil, 10, "6 fields"), ("@reboot", nil, 0, "@daily"), ("@daily 1", nil, 0, "alone"),
            ("60 * * * *", .minute, 0, "0-59"), ("0 24 * * *", .hour, 2, "0-23"), ("0 0 0 * *", .dayOfMonth, 4, "1-31"),
            ("0 0 32 * *", .dayOfMonth, 4, "1-31"), ("0 0 * 13 *", .month, 6, "1-12 or JAN-DEC"),
            ("0 0 * 0 *", .month, 6, "1-12"), ("0 0 * * 8", .dayOfWeek, 8, "0-7 or SUN-SAT"),
            ("1,2,99 * * * *", .minute, 4, "0-59"), ("*/0 * * * *", .minute, 2, "1-59"),
            ("*/90 * * * *", .minute, 2, "1-59"), ("*/ * * * *", .minute, 2, "1-59"),
            ("0 0 * * */8", .dayOfWeek, 10, "1-7"),
            ("10-5 * * * *", .minute, 0, "backwards"), ("0 22-4 * * *", .hour, 2, "backwards"),
            ("0 0 * * sat-mon", .dayOfWeek, 8, "backwards"), ("1- * * * *", .minute, 2, "ends too early"),
            ("1, * * * *", .minute, 2, "ends too early"), (",1 * * * *", .minute, 0, "\",\" is not expected"),
            ("-1 * * * *", .minute, 0, "\"-\" is not expected"), ("*5 * * * *", .minute, 1, "comma"),
            ("1-2-3 * * * *", .minute, 3, "comma"), ("0 0 * foo *", .month, 6, "\"foo\" is not a value"),
            ("mon * * * *", .minute, 0, "0-59"), ("0 0 L * *", .dayOfMonth, 4, "1-31"),
            ("0 0 ? * *", .dayOfMonth, 4, "?"),
            ("0 0 * * 1#2", .dayOfWeek, 9, "comma"), ("0 0 30 2 *", .dayOfMonth, 4, "never"),
            ("0 0 31 feb,apr,jun,sep,nov *", .dayOfMonth, 4, "never"), ("0 0 30-31 2 */2", .dayOfMonth, 4, "never"),
            ("99999999999999999999999 * * * *", .minute, 0, "0-59"), ("٣ * * * *", .minute, 0, "not expected"),
            ("0 💥 * * *", .hour, 2, "not expected"),
        ] as [(String, CronField?, Int, String)])
    func refuses(text: String, field: CronField?, column: Int, reason: String) throws {
        let error = try #require(throws: InvalidCronExpression.self) { try CronExpression(text) }
        #expect(error.field == field)
        #expect(error.column == column)
        #expect(error.reason.contains(reason), "\(error)")
    }

    @Test func aWeekdayMendsADayThatNoMonthHas() throws {
        let cron = try CronExpression("0 0 30 2 mon")
        #expect(try text(cron.next(after: instant("2025-01-01T00:00Z"), in: .gmt)) == "2025-02-03T00:00Z")
    }

    @Test func isCodedAsItsText() throws {
        let data = try JSONEncoder().encode([CronExpression("0 3 * * mon")])
        #expect(String(decoding: data, as: UTF8.self) == #"["0 3 * * mon"]"#)
        #expect(try JSONDecoder().decode([CronExpression].self, from: data) == [CronExpression("0 3 * * mon")])
        #expect(throws: InvalidCronExpression.self) {
            try JSONDecoder().decode([CronExpression].self, from: Data(#"["0 3 * *"]"#.utf8))
        }
    }

    /// No text makes the parser trap.
    @Test func survivesNoise() throws {
        var generator = SeededGenerator.forTest()
        let alphabet = Array("0123456789*/,-@ \tabcdefsunmonjanL?#💥é\u{0}\n")
        for _ in 0..<20_000 {
            let length = Int.random(in: 0...24, using: &generator)
            let text = String(try (0..<length).map { _ in try generator.pick(alphabet) })
            do {
                let cron = try CronExpression(text)
                #expect(cron.next(after: Date(timeIntervalSince1970: 0), in: .gmt) != nil, "\(text)")
            } catch {
                #expect((0...text.unicodeScalars.count).contains(error.column), "\(text)")
            }
        }
    }
}
