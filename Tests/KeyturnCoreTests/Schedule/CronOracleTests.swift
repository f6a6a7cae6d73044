import Foundation
import Testing

@testable import KeyturnCore

/// Compares with a slow reading of the rules, minute by minute, around changes of the clocks.
@Suite("Cron: minute by minute")
struct CronOracleTests {
    /// A zone and an instant near which its clocks change.
    static let changes: [(zone: String, near: String)] = [
        ("Europe/Oslo", "2025-03-30T01:00Z"), ("Europe/Oslo", "2025-10-26T01:00Z"),
        ("America/New_York", "2025-03-09T07:00Z"), ("America/New_York", "2025-11-02T06:00Z"),
        ("Australia/Lord_Howe", "2025-10-04T15:30Z"), ("Australia/Lord_Howe", "2025-04-05T15:00Z"),
        ("America/Sao_Paulo", "2018-11-04T03:00Z"), ("America/Sao_Paulo", "2018-02-18T02:00Z"),
        ("Pacific/Apia", "2011-12-30T10:00Z"), ("Asia/Beirut", "2024-03-30T22:00Z"),
        ("Africa/Casablanca", "2025-02-23T02:00Z"), ("Africa/Casablanca", "2025-04-06T02:00Z"),
        ("Antarctica/Troll", "2025-03-30T01:00Z"), ("Antarctica/Troll", "2025-10-26T01:00Z"),
        ("Pacific/Kwajalein", "1993-08-21T12:00Z"), ("America/St_Johns", "2010-11-07T02:31Z"),
        ("Asia/Kathmandu", "1985-12-31T18:30Z"), ("Asia/Pyongyang", "2015-08-14T15:00Z"),
        ("Asia/Pyongyang", "2018-05-04T15:00Z"), ("America/Caracas", "2016-05-01T07:00Z"),
    ]

    /// Minutes around the change: what the wall clock shows at each, in minutes since 1970.
    struct Timeline {
        let start: Int64
        let local: [Int64]

        init(around center: Date, in zone: TimeZone) {
            let first = Int64(center.timeIntervalSince1970) / 60 - 3 * 1_440
            start = first
            local = (0..<(8 * 1_440)).map { step in
                let instant = Date(timeIntervalSince1970: Double((first + step) * 60))
                return first + step + Int64(zone.secondsFromGMT(for: instant)) / 60
            }
        }

        /// All runs of an expression, as indices of minutes, in the order of time.
        func runs(of cron: CronExpression) -> [Int] {
            if cron.followsElapsedTime { return local.indices.filter { Self.matches(local[$0], cron) } }
            // A local time runs as soon as the wall clock shows it or anything later.
            var latest = local[0]
            return local.indices.dropFirst().filter { index in
                guard local[index] > latest else { return false }
                defer { latest = local[index] }
                return ((latest + 1)...local[index]).contains { Self.matches($0, cron) }
            }
        }

        private static func matches(_ localMinute: Int64, _ cron: CronExpression) -> Bool {
            var calendar = Calendar(identifier: .gregorian)
            calendar.timeZone = .gmt
            let minuteOfDay = Int((localMinute % 1_440 + 1_440) % 1_440)
            guard cron.minutes.contains(minuteOfDay % 60), cron.hours.contains(minuteOfDay / 60) else { return false }
            let date = Date(timeIntervalSince1970: Double(localMinute) * 60)
            let parts = calendar.dateComponents([.month, .day, .weekday], from: date)
            guard let month = parts.month, let day = parts.day, let weekday = parts.weekday else { return false }
            let (dayMatches, weekdayMatches) = (cron.daysOfMonth.contains(day), cron.daysOfWeek.contains(weekday - 1))
            return cron.months.contains(month)
                && (cron.needsBothDays ? dayMatches && weekdayMatches : dayMatches || weekdayMatches)
        }
    }

    @Test func everyRunNearAChangeIsTheOneTheRulesGive() throws {
        var generator = SeededGenerator.forTest()
        var compared = 0
        for change in Self.changes {
            let zone = try timeZone(change.zone)
            let center = try instant(change.near)
            let timeline = Timeline(around: center, in: zone)
            #expect(Set((0..<2_880).map { timeline.local[2_880 + $0] - Int64($0) }).count > 1, "no change: \(change)")
            for _ in 0..<30 {
                let expression = try CronCases.nearMidnight(using: &generator)
                let cron = try CronExpression(expression)
                let runs = timeline.runs(of: cron)
                for _ in 0..<8 {
                    // Within 30 hours of the change, so that the slow reading knows what came before.
                    let index = 3 * 1_440 + Int.random(in: -1_800...1_800, using: &generator)
                    guard let run = runs.first(where: { $0 > index }) else { continue }
                    let after = Date(timeIntervalSince1970: Double((timeline.start + Int64(index)) * 60))
                    let expected = Date(timeIntervalSince1970: Double((timeline.start + Int64(run)) * 60))
                    #expect(
                        text(cron.next(after: after, in: zone)) == text(expected),
                        "seed \(generator.seed): \(expression) in \(change.zone) after \(text(after))")
                    compared += 1
                }
            }
        }
        #expect(compared >= 3_000)
    }

    @Test func nextIsStrictlyLaterAndSkipsNoRun() throws {
        var generator = SeededGenerator.forTest()
        for _ in 0..<2_000 {
            let expression = try CronCases.any(using: &generator)
            let cron = try CronExpression(expression)
            let zone = try timeZone(generator.pick(CronCases.zones))
            let date = Date(timeIntervalSince1970: Double.random(in: 0...4e9, using: &generator))
            let next = try #require(cron.next(after: date, in: zone), "seed \(generator.seed): \(expression)")
            #expect(next > date)
            #expect(next.timeIntervalSince1970.truncatingRemainder(dividingBy: 60) == 0)
            // Any start between the two gives the same run.
            let between = date.addingTimeInterval(
                Double.random(in: 0..<1, using: &generator) * next.timeIntervalSince(date))
            if between < next {
                #expect(
                    cron.next(after: between, in: zone) == next,
                    "seed \(generator.seed): \(expression) in \(zone.identifier) after \(text(between))")
            }
        }
    }
}
