import Foundation
import TestSupport
import Testing

@testable import KeyturnCore

@Suite("When a secret rotates")
struct RotationTimingTests {
    private let day = 86_400.0

    private func at(_ text: String) throws -> Date { try TestSupport.instant(text) }

    private func next(
        _ policy: Policy, _ current: VersionRecord, schedule: SecretRecord.ScheduleMark? = nil
    ) throws -> RotationTiming {
        try #require(RotationTiming.next(policy: policy, current: current, schedule: schedule))
    }

    private func window(
        _ days: String, _ from: String, _ to: String, _ conflict: RotationWindow.OnConflict
    ) throws -> RotationWindow {
        try RotationWindow(days: Weekdays(days), from: TimeOfDay(from), to: TimeOfDay(to), onConflict: conflict)
    }

    // MARK: every, cron, renewBefore

    @Test func everyCountsFromThePromotion() throws {
        let promoted = try at("2027-01-04T10:00Z")
        var current = VersionRecord.sample(from: promoted.addingTimeInterval(-3_600))
        current.promotedAt = promoted
        current.expiresAt = promoted.addingTimeInterval(60 * day)
        let timing = try next(try .sample(), current)
        #expect(timing.at == promoted.addingTimeInterval(30 * day))
        #expect(timing.reason == .schedule)
        #expect(timing.recurrence == timing.at)
        #expect(timing.renewal == promoted.addingTimeInterval(40 * day))
        #expect(timing.jitter == 0 && !timing.isSpread && !timing.waitsForWindow && !timing.overridesWindow)
    }

    @Test func renewBeforeGoesFirstWhenItIsEarlier() throws {
        let issued = try at("2027-01-04T10:00Z")
        let current = VersionRecord.sample(from: issued, expiresAt: issued.addingTimeInterval(40 * day))
        let timing = try next(try .sample(lifetime: "40d", renewBefore: "15d"), current)
        #expect(timing.at == issued.addingTimeInterval(25 * day))
        #expect(timing.reason == .renewBeforeExpiry)
        #expect(timing.sentence == "the key is renewed before it expires")
    }

    @Test func bothAtOnceIsTheSchedule() throws {
        let issued = try at("2027-01-04T10:00Z")
        let current = VersionRecord.sample(from: issued, expiresAt: issued.addingTimeInterval(50 * day))
        let timing = try next(try .sample(lifetime: "50d"), current)
        #expect(timing.at == issued.addingTimeInterval(30 * day))
        #expect(timing.reason == .schedule)
        #expect(timing.sentence == "the schedule asks for it")
    }

    @Test func cronIsTheNextTimeAfterThePromotion() throws {
        let policy = try Policy.sample(
            recurrence: .cron(CronExpression("0 3 * * 1")), lifetime: nil, renewBefore: nil, zone: "Europe/Oslo")
        // A Monday, before and at the time itself: a rotation at 03:00 does not ask for another one at once.
        #expect(
            try next(policy, .sample(from: at("2027-01-04T01:59Z"))).at == at("2027-01-04T02:00Z"))
        #expect(
            try next(policy, .sample(from: at("2027-01-04T02:00Z"))).at == at("2027-01-11T02:00Z"))
    }

    @Test func cronKeepsItsWallClockOverTheChangeOfClocks() throws {
        let policy = try Policy.sample(
            recurrence: .cron(CronExpression("30 2 * * *")), lifetime: nil, renewBefore: nil, zone: "Europe/Oslo")
        // 02:30 is skipped on 2027-03-28 and runs at 03:00 local time.
        #expect(try next(policy, .sample(from: at("2027-03-27T12:00Z"))).at == at("2027-03-28T01:00Z"))
        #expect(try next(policy, .sample(from: at("2027-03-28T01:00Z"))).at == at("2027-03-29T00:30Z"))
        // 02:30 comes twice on 2027-10-31 and runs once.
        #expect(try next(policy, .sample(from: at("2027-10-30T12:00Z"))).at == at("2027-10-31T00:30Z"))
        #expect(try next(policy, .sample(from: at("2027-10-31T00:30Z"))).at == at("2027-11-01T01:30Z"))
    }

    @Test func aKeyWithoutExpiryFollowsItsScheduleAlone() throws {
        let issued = try at("2027-01-04T10:00Z")
        let timing = try next(try .sample(lifetime: nil, renewBefore: nil), .sample(from: issued))
        #expect(timing.at == issued.addingTimeInterval(30 * day))
        #expect(timing.renewal == nil && timing.lastSafeStart == nil)
        #expect(timing.overdueAt == timing.at.addingTimeInterval(day))
    }

    @Test func aCronThatNeverComesLeavesTheExpiry() throws {
        let issued = try at("2101-01-01T00:00Z")
        let never = try Policy.sample(
            recurrence: .cron(CronExpression("0 0 29 2 *")), lifetime: "60d", renewBefore: "20d")
        let current = VersionRecord.sample(from: issued, expiresAt: issued.addingTimeInterval(60 * day))
        #expect(try next(never, current).reason == .renewBeforeExpiry)
    }

    @Test func anAdoptedKeyCountsFromItsIssue() throws {
        let issued = try at("2027-01-04T10:00Z")
        let current = VersionRecord.sample(
            from: issued, expiresAt: issued.addingTimeInterval(365 * day), adopted: true)
        #expect(try next(try .sample(), current).at == issued.addingTimeInterval(30 * day))
    }

    @Test func timesAreWholeSeconds() throws {
        let issued = try at("2027-01-04T10:00Z").addingTimeInterval(0.75)
        let current = VersionRecord.sample(from: issued, expiresAt: issued.addingTimeInterval(60 * day))
        let at = try next(try .sample(), current).at.timeIntervalSince1970
        #expect(at == at.rounded(.down))
        #expect(at <= issued.timeIntervalSince1970 + 30 * day)
    }

    // MARK: Jitter

    @Test func jitterOnlyMovesItEarlier() throws {
        let issued = try at("2027-01-04T10:00Z")
        let plain = issued.addingTimeInterval(30 * day)
        var offsets: Set<Int64> = []
        for number in 1...200 {
            var current = VersionRecord.sample(number, from: issued)
            current.expiresAt = issued.addingTimeInterval(60 * day)
            let timing = try next(try .sample("team/key-\(number)", jitter: "2h"), current)
            #expect(timing.at <= plain && timing.at >= plain.addingTimeInterval(-7_200))
            #expect(timing.at == plain.addingTimeInterval(-Double(timing.jitter)))
            offsets.insert(timing.jitter)
            #expect(try next(try .sample("team/key-\(number)", jitter: "2h"), current) == timing)
        }
        #expect(offsets.count > 150, "a herd is spread")
    }

    @Test func jitterNeverReachesBackBeforeThePromotion() throws {
        let issued = try at("2027-01-04T10:00Z")
        for number in 1...50 {
            let policy = try Policy.sample(
                "team/key-\(number)", recurrence: .every(PolicyDuration("60s")), lifetime: nil, renewBefore: nil,
                jitter: "30d")
            let timing = try next(policy, .sample(from: issued))
            #expect(timing.at >= issued && timing.at <= issued.addingTimeInterval(60))
        }
    }

    // MARK: Windows

    @Test func itWaitsForItsWindow() throws {
        // 2027-02-03 is a Wednesday, 30 days after Monday the 4th.
        let issued = try at("2027-01-04T10:00Z")
        let policy = try Policy.sample(window: window("mon-thu", "02:00", "05:00", .deadline))
        let current = VersionRecord.sample(from: issued, expiresAt: issued.addingTimeInterval(60 * day))
        let timing = try next(policy, current)
        #expect(timing.at == (try at("2027-02-04T02:00Z")))
        #expect(timing.waitsForWindow && !timing.overridesWindow)
        #expect(timing.sentence == "the schedule asks for it; it waits for its window")
    }

    @Test func insideItsWindowItWaitsForNothing() throws {
        let issued = try at("2027-01-04T03:00Z")
        let policy = try Policy.sample(window: window("daily", "02:00", "05:00", .window))
        let timing = try next(policy, .sample(from: issued, expiresAt: issued.addingTimeInterval(60 * day)))
        #expect(timing.at == issued.addingTimeInterval(30 * day))
        #expect(!timing.waitsForWindow)
    }

    @Test func theDeadlineOrTheWindowDecides() throws {
        // Due on a Wednesday, opens on Sunday, expires on Friday.
        let issued = try at("2027-01-04T10:00Z")
        let expiry = issued.addingTimeInterval(32 * day)
        func timing(_ conflict: RotationWindow.OnConflict) throws -> RotationTiming {
            try next(
                try .sample(lifetime: "32d", renewBefore: "1d", window: window("sun", "02:00", "05:00", conflict)),
                .sample(from: issued, expiresAt: expiry))
        }
        let deadline = try timing(.deadline)
        #expect(deadline.overridesWindow && !deadline.waitsForWindow)
        #expect(deadline.at == issued.addingTimeInterval(30 * day))
        #expect(deadline.sentence == "the schedule asks for it; outside its window, which opens too late")
        let strict = try timing(.window)
        #expect(strict.waitsForWindow && !strict.overridesWindow)
        #expect(strict.at == (try at("2027-02-07T02:00Z")))
        #expect(strict.at > expiry)
    }

    @Test func theLastSafeStartLeavesAnHourOrHalfOfRenewBefore() throws {
        let issued = try at("2027-01-04T10:00Z")
        for (renewBefore, left) in [("20d", 3_600.0), ("2h", 3_600.0), ("30m", 900.0), ("10s", 5.0)] {
            let current = VersionRecord.sample(from: issued, expiresAt: issued.addingTimeInterval(60 * day))
            let timing = try next(try .sample(renewBefore: renewBefore), current)
            #expect(timing.lastSafeStart == current.expiresAt?.addingTimeInterval(-left), "\(renewBefore)")
        }
    }

    // MARK: An edited schedule

    private func edited(_ since: Date) -> SecretRecord.ScheduleMark {
        SecretRecord.ScheduleMark(digest: "new", since: since, replacedAnother: true)
    }

    @Test func anEditedScheduleDoesNotRotateEverythingAtOnce() throws {
        let issued = try at("2027-01-04T10:00Z")
        let since = issued.addingTimeInterval(100 * day)
        var starts: [Date] = []
        for number in 1...300 {
            let policy = try Policy.sample("team/key-\(number)", lifetime: nil, renewBefore: nil)
            let timing = try next(policy, .sample(from: issued), schedule: edited(since))
            #expect(timing.isSpread)
            #expect(timing.at >= since && timing.at <= since.addingTimeInterval(day))
            starts.append(timing.at)
        }
        let hours = Dictionary(grouping: starts) { Int($0.timeIntervalSince(since) / 3_600) }
        #expect(hours.values.map(\.count).max() ?? 0 < 40, "no hour gets more than three times its share")
        #expect(hours.count >= 20)
    }

    @Test func aScheduleThatIsNotPassedIsNotSpread() throws {
        let issued = try at("2027-01-04T10:00Z")
        let timing = try next(
            try .sample(lifetime: nil, renewBefore: nil), .sample(from: issued),
            schedule: edited(issued.addingTimeInterval(10 * day)))
        #expect(!timing.isSpread)
        #expect(timing.at == issued.addingTimeInterval(30 * day))
    }

    @Test func theSpreadIsATenthOfTheIntervalAndLeavesHalfTheTimeBeforeExpiry() throws {
        let issued = try at("2027-01-04T10:00Z")
        let since = issued.addingTimeInterval(100 * day)
        for number in 1...100 {
            let name = "team/key-\(number)"
            let hourly = try Policy.sample(
                name, recurrence: .every(PolicyDuration("10h")), lifetime: nil, renewBefore: nil)
            let short = try next(hourly, .sample(from: issued), schedule: edited(since))
            #expect(short.at <= since.addingTimeInterval(3_600))
            // Expires in three hours: the last safe start is in two, the spread at most one.
            let dying = VersionRecord.sample(from: issued, expiresAt: since.addingTimeInterval(3 * 3_600))
            let near = try next(try .sample(name), dying, schedule: edited(since))
            #expect(near.at >= since && near.at <= since.addingTimeInterval(3_600))
            // Expired already: at once.
            let dead = VersionRecord.sample(from: issued, expiresAt: since.addingTimeInterval(-1))
            #expect(try next(try .sample(name), dead, schedule: edited(since)).at == since)
        }
    }

    // MARK: Overdue

    @Test func overdueIsADayOrHalfOfWhatIsLeft() throws {
        let issued = try at("2027-01-04T10:00Z")
        let plenty = try next(try .sample(), .sample(from: issued, expiresAt: issued.addingTimeInterval(60 * day)))
        #expect(plenty.overdueAt == plenty.at.addingTimeInterval(day))
        // Five hours between the start and the last safe one.
        let tight = try next(
            try .sample(renewBefore: "6h"), .sample(from: issued, expiresAt: issued.addingTimeInterval(30.25 * day)))
        #expect(tight.overdueAt == tight.at.addingTimeInterval(2.5 * 3_600))
        let late = try next(try .sample(), .sample(from: issued, expiresAt: issued.addingTimeInterval(10 * day)))
        #expect(late.overdueAt >= late.at)
    }

    // MARK: All of it at random

    @Test func randomSchedulesKeepThePromises() throws {
        var generator = SeededGenerator.forTest()
        let zones = ["UTC", "Europe/Oslo", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]
        for _ in 0..<2_000 {
            let issued = Date(
                timeIntervalSince1970: Double(Int64.random(in: 1_790_000_000...1_850_000_000, using: &generator)))
            let lifetime = Int64.random(in: 3...90, using: &generator) * 86_400
            let renewBefore = Int64.random(in: 3_600...(lifetime / 2), using: &generator)
            let recurrence: RotationSchedule.Recurrence =
                generator.chance(50)
                ? .every(try #require(PolicyDuration(seconds: Int64.random(in: 60...(60 * 86_400), using: &generator))))
                : .cron(
                    try CronExpression(try generator.pick(["0 3 * * 1", "30 2 * * *", "@monthly", "15 */6 * * *"])))
            let window = try generator.pick([
                nil, try self.window("mon-thu", "02:00", "05:00", .deadline),
                try self.window("sat", "22:00", "04:00", .window),
            ])
            let policy = try Policy.sample(
                "team/key-\(generator.next() % 1_000)", recurrence: recurrence,
                lifetime: "\(lifetime)s", renewBefore: "\(renewBefore)s",
                jitter: generator.chance(50) ? "1h" : nil, zone: try generator.pick(zones), window: window)
            let current = VersionRecord.sample(from: issued, expiresAt: issued.addingTimeInterval(Double(lifetime)))
            let timing = try next(policy, current)
            let wanted = try #require([timing.recurrence, timing.renewal].compactMap { $0 }.min())
            let isInWindow = window?.contains(timing.at, in: policy.rotation.timeZone) == true
            let holds = [
                "on a whole second": timing.at.timeIntervalSince1970 == timing.at.timeIntervalSince1970.rounded(.down),
                "waiting ends inside the window": !timing.waitsForWindow || isInWindow,
                "waiting only moves it later": !timing.waitsForWindow
                    || timing.at > wanted.addingTimeInterval(-Double(timing.jitter) - 1),
                "without waiting it is never late": timing.waitsForWindow || timing.at <= wanted,
                "never before the promotion": timing.at >= issued,
                "in time unless the window goes first": window?.onConflict == .window
                    || timing.lastSafeStart.map { timing.at <= $0 } ?? true,
                "overdue only once it was due": timing.overdueAt >= timing.at,
            ]
            for (promise, isKept) in holds where !isKept {
                Issue.record("\(promise); seed \(generator.seed): \(policy.rotation), issued \(issued)")
            }
        }
    }
}
