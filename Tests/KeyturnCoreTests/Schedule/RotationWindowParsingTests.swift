import Foundation
import Testing

@testable import KeyturnCore

@Suite("Rotation windows: syntax")
struct RotationWindowParsingTests {
    @Test(
        arguments: [
            ("mon-thu", [.monday, .tuesday, .wednesday, .thursday], "mon-thu"),
            ("mon,wed", [.monday, .wednesday], "mon,wed"), ("sat-mon", [.saturday, .sunday, .monday], "mon,sat,sun"),
            ("FRI - Sun", [.friday, .saturday, .sunday], "fri-sun"), (" tue ", .tuesday, "tue"),
            ("daily", .daily, "daily"), ("*", .daily, "daily"), ("mon-sun", .daily, "daily"),
            ("sun-sat", .daily, "daily"), ("mon-mon", .monday, "mon"), ("mon,mon-tue", [.monday, .tuesday], "mon,tue"),
            ("sun,wed-fri", [.sunday, .wednesday, .thursday, .friday], "wed-fri,sun"),
        ] as [(String, Weekdays, String)])
    func days(text: String, expected: Weekdays, canonical: String) throws {
        let days = try Weekdays(text)
        #expect(days == expected)
        #expect(days.description == canonical)
        #expect(try Weekdays(canonical) == expected)
    }

    @Test(
        arguments: [
            ("", 0, "missing"), ("mon,", 4, "missing"), ("mon,,tue", 4, "missing"), ("-mon", 0, "missing"),
            ("mon-", 4, "missing"), ("monday", 0, "\"monday\" is not"), ("mon, xyz", 5, "\"xyz\" is not"),
            ("mon-tue-wed", 8, "two ends"), ("1-5", 0, "\"1\" is not"), ("mon-*", 4, "\"*\" is not"),
            ("  ", 2, "missing"),
        ])
    func refusesDays(text: String, column: Int, reason: String) throws {
        let error = try #require(throws: InvalidRotationWindow.self) { try Weekdays(text) }
        #expect(error.column == column)
        #expect(error.reason.contains(reason), "\(error)")
    }

    @Test(arguments: [("00:00", 0), ("02:30", 150), ("23:59", 1_439), ("24:00", 1_440)])
    func times(text: String, minutes: Int) throws {
        #expect(try TimeOfDay(text).minutes == minutes)
        #expect(try TimeOfDay(text).description == text)
    }

    @Test(
        arguments: [
            ("", 0, "HH:MM"), ("2:00", 0, "HH:MM"), ("02.00", 0, "HH:MM"), ("02:00:00", 0, "HH:MM"),
            ("-2:00", 0, "HH:MM"),
            ("25:00", 0, "00-24"), ("02:60", 3, "00-59"), ("24:01", 3, "24:00"), ("٠٢:٠٠", 0, "HH:MM"),
            ("7200", 0, "HH:MM"),
        ])
    func refusesTimes(text: String, column: Int, reason: String) throws {
        let error = try #require(throws: InvalidRotationWindow.self) { try TimeOfDay(text) }
        #expect(error.column == column)
        #expect(error.reason.contains(reason), "\(error)")
    }

    @Test(arguments: [("daily", "24:00", "02:00"), ("daily", "02:00", "02:00"), (nil, "02:00", "05:00")])
    func refusesWindowsWithoutTime(days: String?, from: String, to: String) throws {
        let days = try days.map { try Weekdays($0) } ?? []
        #expect(throws: InvalidRotationWindow.self) {
            try RotationWindow(days: days, from: TimeOfDay(from), to: TimeOfDay(to), onConflict: .window)
        }
    }

    @Test func isCodedAsItIsWritten() throws {
        let window = try RotationWindow(
            days: Weekdays("mon-thu"), from: TimeOfDay("22:00"), to: TimeOfDay("04:00"), onConflict: .deadline)
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        let data = try encoder.encode(window)
        let json = #"{"days":"mon-thu","from":"22:00","onConflict":"deadline","to":"04:00"}"#
        #expect(String(decoding: data, as: UTF8.self) == json)
        #expect(try JSONDecoder().decode(RotationWindow.self, from: data) == window)
        #expect(throws: InvalidRotationWindow.self) {
            try JSONDecoder().decode(RotationWindow.self, from: Data(json.replacing("04:00", with: "22:00").utf8))
        }
    }
}
