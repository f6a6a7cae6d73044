import Foundation
import Testing

@testable import KeyturnCore

/// Runs that follow each other, worked out by hand from the zones' rules.
struct CronCase: CustomTestStringConvertible, Sendable {
    let zone: String
    let expression: String
    let after: String
    let runs: [String]

    init(_ zone: String, _ expression: String, after: String, _ runs: String...) {
        self.zone = zone
        self.expression = expression
        self.after = after
        self.runs = runs
    }

    var testDescription: String { "\(zone), \(expression), after \(after)" }

    func check() throws {
        let cron = try CronExpression(expression)
        let zone = try timeZone(zone)
        var date = try instant(after)
        for run in runs {
            let next = try #require(cron.next(after: date, in: zone))
            #expect(text(next) == run)
            date = next
        }
    }
}

@Suite("Cron: run times")
struct CronRunTimeTests {
    @Test(arguments: [
        // 02:00-03:00 is skipped at 2025-03-30T01:00Z, 02:00-03:00 repeats from 2025-10-26T01:00Z.
        CronCase("Europe/Oslo", "30 2 * * *", after: "2025-03-29T12:00Z", "2025-03-30T01:00Z", "2025-03-31T00:30Z"),
        CronCase(
            "Europe/Oslo", "15,30,45 2 * * *", after: "2025-03-29T12:00Z", "2025-03-30T01:00Z", "2025-03-31T00:15Z"),
        CronCase("Europe/Oslo", "0 2,3 * * *", after: "2025-03-29T12:00Z", "2025-03-30T01:00Z", "2025-03-31T00:00Z"),
        CronCase("Europe/Oslo", "30 2,3 * * *", after: "2025-03-29T12:00Z", "2025-03-30T01:00Z", "2025-03-30T01:30Z"),
        CronCase("Europe/Oslo", "30 2 30 3 *", after: "2025-01-01T00:00Z", "2025-03-30T01:00Z", "2026-03-30T00:30Z"),
        CronCase("Europe/Oslo", "30 2 * * sun", after: "2025-03-29T12:00Z", "2025-03-30T01:00Z", "2025-04-06T00:30Z"),
        CronCase("Europe/Oslo", "30 2 * * *", after: "2025-10-25T12:00Z", "2025-10-26T00:30Z", "2025-10-27T01:30Z"),
        CronCase("Europe/Oslo", "30 2 * * *", after: "2025-10-26T01:10Z", "2025-10-27T01:30Z"),
        CronCase("Europe/Oslo", "0,30 2 * * *", after: "2025-10-26T00:30Z", "2025-10-27T01:00Z"),
        CronCase("Europe/Oslo", "0 3 * * *", after: "2025-10-26T00:30Z", "2025-10-26T02:00Z"),
        // 01:00-02:00 repeats from 2025-11-02T06:00Z.
        CronCase("America/New_York", "0 2 * * *", after: "2025-03-08T12:00Z", "2025-03-09T07:00Z", "2025-03-10T06:00Z"),
        CronCase(
            "America/New_York", "30 1 * * *", after: "2025-11-01T12:00Z", "2025-11-02T05:30Z", "2025-11-03T06:30Z"),
        // Half an hour: 02:00-02:30 is skipped at 2025-10-04T15:30Z, 01:30-02:00 repeats from 2025-04-05T15:00Z.
        CronCase(
            "Australia/Lord_Howe", "15 2 * * *", after: "2025-10-04T00:00Z", "2025-10-04T15:30Z", "2025-10-05T15:15Z"),
        CronCase(
            "Australia/Lord_Howe", "15,30 2 * * *", after: "2025-10-04T00:00Z", "2025-10-04T15:30Z", "2025-10-05T15:15Z"
        ),
        CronCase(
            "Australia/Lord_Howe", "45 1 * * *", after: "2025-04-05T00:00Z", "2025-04-05T14:45Z", "2025-04-06T15:15Z"),
        // Midnight: 00:00-01:00 of 4 November is skipped, 23:00-24:00 of 17 February repeats.
        CronCase(
            "America/Sao_Paulo", "0 0 * * *", after: "2018-11-03T12:00Z", "2018-11-04T03:00Z", "2018-11-05T02:00Z"),
        CronCase("America/Sao_Paulo", "@weekly", after: "2018-11-03T12:00Z", "2018-11-04T03:00Z", "2018-11-11T02:00Z"),
        CronCase(
            "America/Sao_Paulo", "30 23 * * *", after: "2018-02-17T12:00Z", "2018-02-18T01:30Z", "2018-02-19T02:30Z"),
        CronCase(
            "America/Sao_Paulo", "0 0 * * *", after: "2018-02-18T01:30Z", "2018-02-18T03:00Z", "2018-02-19T03:00Z"),
        CronCase("Asia/Beirut", "30 0 * * *", after: "2024-03-30T12:00Z", "2024-03-30T22:00Z", "2024-03-31T21:30Z"),
        // 30 December 2011 does not exist: its run comes as the 31st begins.
        CronCase("Pacific/Apia", "0 9 * * *", after: "2011-12-29T19:00Z", "2011-12-30T10:00Z", "2011-12-30T19:00Z"),
        CronCase("Pacific/Apia", "0 9 30 12 *", after: "2011-12-01T00:00Z", "2011-12-30T10:00Z", "2012-12-29T19:00Z"),
        // Summer time ends for Ramadan: back at 2025-02-23T02:00Z, forward at 2025-04-06T02:00Z.
        CronCase(
            "Africa/Casablanca", "30 2 * * *", after: "2025-02-22T12:00Z", "2025-02-23T01:30Z", "2025-02-24T02:30Z"),
        CronCase(
            "Africa/Casablanca", "30 2 * * *", after: "2025-04-05T12:00Z", "2025-04-06T02:00Z", "2025-04-07T01:30Z"),
    ])
    func fixedTimesRunOnceWhenClocksChange(_ expected: CronCase) throws { try expected.check() }

    @Test(arguments: [
        CronCase(
            "Europe/Oslo", "*/15 * * * *", after: "2025-03-30T00:30Z", "2025-03-30T00:45Z", "2025-03-30T01:00Z",
            "2025-03-30T01:15Z"),
        CronCase(
            "Europe/Oslo", "0 * * * *", after: "2025-10-25T23:00Z", "2025-10-26T00:00Z", "2025-10-26T01:00Z",
            "2025-10-26T02:00Z"),
        CronCase(
            "Europe/Oslo", "*/30 2 * * *", after: "2025-10-25T12:00Z", "2025-10-26T00:00Z", "2025-10-26T00:30Z",
            "2025-10-26T01:00Z", "2025-10-26T01:30Z", "2025-10-27T01:00Z"),
        CronCase("Europe/Oslo", "*/30 2 * * *", after: "2025-03-29T12:00Z", "2025-03-31T00:00Z"),
        CronCase("Europe/Oslo", "30 */2 * * *", after: "2025-03-29T23:30Z", "2025-03-30T02:30Z"),
        CronCase(
            "Europe/Oslo", "*/30 2 26 10 *", after: "2025-10-26T00:30Z", "2025-10-26T01:00Z", "2025-10-26T01:30Z",
            "2026-10-26T01:00Z"),
        // The clock moves by half an hour: half past comes after 30 minutes, once.
        CronCase(
            "Australia/Lord_Howe", "30 * * * *", after: "2025-10-04T14:00Z", "2025-10-04T15:00Z", "2025-10-04T15:30Z",
            "2025-10-04T16:30Z"),
        CronCase(
            "Australia/Lord_Howe", "30 * * * *", after: "2025-04-05T14:00Z", "2025-04-05T14:30Z", "2025-04-05T15:00Z",
            "2025-04-05T16:00Z"),
        CronCase(
            "Pacific/Apia", "0 */12 * * *", after: "2011-12-29T10:00Z", "2011-12-29T22:00Z", "2011-12-30T10:00Z",
            "2011-12-30T22:00Z"),
    ])
    func starsFollowElapsedTime(_ expected: CronCase) throws { try expected.check() }

    @Test(arguments: [
        CronCase("Asia/Kathmandu", "0 3 * * *", after: "2025-01-01T00:00Z", "2025-01-01T21:15Z"),
        CronCase("Asia/Kolkata", "0 0 1 * *", after: "2025-01-01T00:00Z", "2025-01-31T18:30Z"),
        CronCase("Pacific/Chatham", "15 6 * * *", after: "2025-06-01T00:00Z", "2025-06-01T17:30Z"),
        CronCase(
            "UTC", "0 0 13 * fri", after: "2025-06-01T00:00Z", "2025-06-06T00:00Z", "2025-06-13T00:00Z",
            "2025-06-20T00:00Z"),
        CronCase("UTC", "0 0 */13 * fri", after: "2025-06-01T00:00Z", "2025-06-27T00:00Z", "2025-08-01T00:00Z"),
        CronCase("UTC", "0 0 13 * */5", after: "2025-06-01T00:00Z", "2025-06-13T00:00Z", "2025-07-13T00:00Z"),
        CronCase("UTC", "0 0 31 * *", after: "2025-01-31T00:00Z", "2025-03-31T00:00Z", "2025-05-31T00:00Z"),
        CronCase("UTC", "59 23 31 12 *", after: "2025-12-31T23:59:00Z", "2026-12-31T23:59Z"),
        CronCase("UTC", "59 23 31 12 *", after: "2025-12-31T23:58:59Z", "2025-12-31T23:59Z"),
        CronCase("UTC", "* * * * *", after: "2025-12-31T23:59:59Z", "2026-01-01T00:00Z"),
        CronCase("UTC", "0 0 29 2 *", after: "2096-02-29T00:00Z", "2104-02-29T00:00Z"),
        // 29 February on a Sunday, over the missing leap day of 2100.
        CronCase("UTC", "0 0 29 2 */7", after: "2088-02-29T00:00Z", "2128-02-29T00:00Z"),
        CronCase(
            "Europe/Oslo", "*/30 0 29 2 */7", after: "2088-03-01T00:00Z", "2128-02-28T23:00Z", "2128-02-28T23:30Z"),
        CronCase("UTC", "0 0 * * *", after: "1969-12-30T12:00Z", "1969-12-31T00:00Z", "1970-01-01T00:00Z"),
    ])
    func plainTimes(_ expected: CronCase) throws { try expected.check() }

    @Test func fractionsOfASecondCount() throws {
        let cron = try CronExpression("0 12 * * *")
        let noon = try instant("2025-06-01T12:00Z")
        #expect(cron.next(after: noon.addingTimeInterval(-0.25), in: .gmt) == noon)
        #expect(cron.next(after: noon.addingTimeInterval(0.25), in: .gmt) == noon.addingTimeInterval(86_400))
    }

    @Test(arguments: [Double.nan, .infinity, -.infinity, 1e300, -1e300, 1e12])
    func absurdDatesHaveNoNext(seconds: Double) throws {
        for text in ["0 3 * * *", "*/5 * * * *"] {
            let cron = try CronExpression(text)
            #expect(cron.next(after: Date(timeIntervalSince1970: seconds), in: .gmt) == nil)
        }
    }

    @Test func distantDatesHaveANext() throws {
        for text in ["0 3 29 2 *", "*/5 * * * *"] {
            let cron = try CronExpression(text)
            for date in [Date.distantPast, .distantFuture] {
                let next = try #require(cron.next(after: date, in: timeZone("Europe/Oslo")))
                #expect(next > date)
            }
        }
    }
}
