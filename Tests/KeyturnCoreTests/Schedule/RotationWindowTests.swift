import Foundation
import Testing

@testable import KeyturnCore

@Suite("Rotation windows")
struct RotationWindowTests {
    private func window(_ days: String, _ from: String, _ to: String) throws -> RotationWindow {
        try RotationWindow(days: Weekdays(days), from: TimeOfDay(from), to: TimeOfDay(to), onConflict: .deadline)
    }

    struct Case: CustomTestStringConvertible, Sendable {
        let zone: String
        let days: String
        let from: String
        let to: String
        let at: String
        let opens: String
        let closes: String

        init(_ zone: String, _ days: String, _ times: (String, String), at: String, opens: String, closes: String) {
            self.zone = zone
            self.days = days
            (from, to) = times
            self.at = at
            self.opens = opens
            self.closes = closes
        }

        var testDescription: String { "\(zone) \(days) \(from)-\(to) at \(at)" }
    }

    // 2025-06-02 is a Monday.
    @Test(arguments: [
        Case(
            "UTC", "mon-thu", ("02:00", "05:00"), at: "2025-06-02T01:00Z", opens: "2025-06-02T02:00Z",
            closes: "2025-06-02T05:00Z"),
        Case(
            "UTC", "mon-thu", ("02:00", "05:00"), at: "2025-06-02T02:00Z", opens: "2025-06-02T02:00Z",
            closes: "2025-06-02T05:00Z"),
        Case(
            "UTC", "mon-thu", ("02:00", "05:00"), at: "2025-06-02T04:59:59Z", opens: "2025-06-02T04:59:59Z",
            closes: "2025-06-02T05:00Z"),
        Case(
            "UTC", "mon-thu", ("02:00", "05:00"), at: "2025-06-02T05:00Z", opens: "2025-06-03T02:00Z",
            closes: "2025-06-03T05:00Z"),
        Case(
            "UTC", "mon-thu", ("02:00", "05:00"), at: "2025-06-05T05:00Z", opens: "2025-06-09T02:00Z",
            closes: "2025-06-09T05:00Z"),
        // Past midnight: belongs to the day on which it opens.
        Case(
            "UTC", "mon", ("22:00", "04:00"), at: "2025-06-02T00:00Z", opens: "2025-06-02T22:00Z",
            closes: "2025-06-03T04:00Z"),
        Case(
            "UTC", "mon", ("22:00", "04:00"), at: "2025-06-03T03:00Z", opens: "2025-06-03T03:00Z",
            closes: "2025-06-03T04:00Z"),
        Case(
            "UTC", "mon", ("22:00", "04:00"), at: "2025-06-03T04:00Z", opens: "2025-06-09T22:00Z",
            closes: "2025-06-10T04:00Z"),
        Case(
            "UTC", "mon", ("22:00", "00:00"), at: "2025-06-02T23:59Z", opens: "2025-06-02T23:59Z",
            closes: "2025-06-03T00:00Z"),
        Case(
            "UTC", "mon", ("22:00", "24:00"), at: "2025-06-03T00:00Z", opens: "2025-06-09T22:00Z",
            closes: "2025-06-10T00:00Z"),
        Case(
            "UTC", "daily", ("00:00", "24:00"), at: "2025-06-02T23:59Z", opens: "2025-06-02T23:59Z",
            closes: "2025-06-03T00:00Z"),
        Case(
            "Asia/Kathmandu", "daily", ("02:00", "05:00"), at: "2025-06-02T00:00Z", opens: "2025-06-02T20:15Z",
            closes: "2025-06-02T23:15Z"),
        // The beginning is skipped: 03:00 is 01:00Z.
        Case(
            "Europe/Oslo", "sun", ("02:30", "05:00"), at: "2025-03-29T12:00Z", opens: "2025-03-30T01:00Z",
            closes: "2025-03-30T03:00Z"),
        // The end is skipped.
        Case(
            "Europe/Oslo", "sun", ("01:00", "02:30"), at: "2025-03-29T12:00Z", opens: "2025-03-30T00:00Z",
            closes: "2025-03-30T01:00Z"),
        // All of it is skipped.
        Case(
            "Europe/Oslo", "daily", ("02:00", "03:00"), at: "2025-03-29T12:00Z", opens: "2025-03-31T00:00Z",
            closes: "2025-03-31T01:00Z"),
        Case(
            "Europe/Oslo", "sun", ("02:10", "02:50"), at: "2025-03-29T12:00Z", opens: "2025-04-06T00:10Z",
            closes: "2025-04-06T00:50Z"),
        // The repeated hour lies inside: an hour longer.
        Case(
            "Europe/Oslo", "sun", ("02:00", "05:00"), at: "2025-10-25T12:00Z", opens: "2025-10-26T00:00Z",
            closes: "2025-10-26T04:00Z"),
        // Both ends are repeated: the first time counts, and the second is outside.
        Case(
            "Europe/Oslo", "sun", ("02:10", "02:50"), at: "2025-10-25T12:00Z", opens: "2025-10-26T00:10Z",
            closes: "2025-10-26T00:50Z"),
        Case(
            "Europe/Oslo", "sun", ("02:10", "02:50"), at: "2025-10-26T01:20Z", opens: "2025-11-02T01:10Z",
            closes: "2025-11-02T01:50Z"),
        // Midnight is skipped.
        Case(
            "America/Sao_Paulo", "sun", ("00:00", "02:00"), at: "2018-11-03T12:00Z", opens: "2018-11-04T03:00Z",
            closes: "2018-11-04T04:00Z"),
        Case(
            "America/Sao_Paulo", "sat", ("22:00", "00:30"), at: "2018-11-03T12:00Z", opens: "2018-11-04T01:00Z",
            closes: "2018-11-04T03:00Z"),
        Case(
            "America/Sao_Paulo", "sun", ("00:00", "00:45"), at: "2018-11-03T12:00Z", opens: "2018-11-11T02:00Z",
            closes: "2018-11-11T02:45Z"),
        Case(
            "Australia/Lord_Howe", "sun", ("02:15", "03:00"), at: "2025-10-04T00:00Z", opens: "2025-10-04T15:30Z",
            closes: "2025-10-04T16:00Z"),
        // Friday 30 December 2011 does not exist; what opens on it and ends on Saturday opens as Saturday begins.
        Case(
            "Pacific/Apia", "fri", ("02:00", "05:00"), at: "2011-12-30T00:00Z", opens: "2012-01-05T12:00Z",
            closes: "2012-01-05T15:00Z"),
        Case(
            "Pacific/Apia", "fri", ("22:00", "04:00"), at: "2011-12-30T00:00Z", opens: "2011-12-30T10:00Z",
            closes: "2011-12-30T14:00Z"),
        Case(
            "Pacific/Apia", "thu", ("22:00", "04:00"), at: "2011-12-30T00:00Z", opens: "2011-12-30T08:00Z",
            closes: "2011-12-30T10:00Z"),
    ])
    func opensAndCloses(_ expected: Case) throws {
        let window = try window(expected.days, expected.from, expected.to)
        let zone = try timeZone(expected.zone)
        let at = try instant(expected.at)
        let opens = window.nextOpening(atOrAfter: at, in: zone)
        #expect(text(opens) == expected.opens)
        #expect(text(window.closing(for: opens, in: zone)) == expected.closes)
        #expect(window.contains(at, in: zone) == (opens == at))
        #expect(window.contains(opens, in: zone))
    }

    @Test func fractionsOfASecondCount() throws {
        let window = try window("daily", "02:00", "05:00")
        let closes = try instant("2025-06-02T05:00Z")
        let before = closes.addingTimeInterval(-0.25)
        #expect(window.nextOpening(atOrAfter: before, in: .gmt) == before)
        #expect(!window.contains(closes, in: .gmt))
    }

    @Test(arguments: [Double.nan, .infinity, -.infinity, 1e300])
    func absurdDatesComeBack(seconds: Double) throws {
        let window = try window("daily", "02:00", "05:00")
        let date = Date(timeIntervalSinceReferenceDate: seconds)
        #expect(!window.contains(date, in: .gmt))
        let opens = window.nextOpening(atOrAfter: date, in: .gmt).timeIntervalSinceReferenceDate
        #expect(opens == seconds || (opens.isNaN && seconds.isNaN))
    }

    @Test func anOpeningIsTheFirstInstantInside() throws {
        var generator = SeededGenerator.forTest()
        for _ in 0..<2_000 {
            let days = Weekdays(rawValue: UInt8.random(in: 1...127, using: &generator))
            let from = try #require(TimeOfDay(minutes: Int.random(in: 0..<1_440, using: &generator)))
            let to = try #require(TimeOfDay(minutes: Int.random(in: 0...1_440, using: &generator)))
            guard from != to else { continue }
            let window = try RotationWindow(days: days, from: from, to: to, onConflict: .window)
            let zone = try timeZone(generator.pick(CronCases.zones))
            let date = Date(timeIntervalSince1970: Double(Int.random(in: 0...4_000_000_000, using: &generator)))
            let label: Comment = "seed \(generator.seed): \(window) in \(zone.identifier) at \(text(date))"

            let opens = window.nextOpening(atOrAfter: date, in: zone)
            #expect(opens >= date && opens.timeIntervalSince(date) <= 15 * 86_400, label)
            let closes = try #require(window.closing(for: opens, in: zone), label)
            #expect(closes > opens, label)
            #expect(window.contains(closes.addingTimeInterval(-1), in: zone), label)
            #expect(window.contains(date, in: zone) == (opens == date), label)
            if opens > date {
                let between = Double.random(in: 0..<1, using: &generator) * opens.timeIntervalSince(date)
                #expect(!window.contains(date.addingTimeInterval(between.rounded(.down)), in: zone), label)
            }
        }
    }
}
