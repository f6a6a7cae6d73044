import Foundation
import KeyturnCore
import Testing

@Suite("The clock guard")
struct ClockGuardTests {
    private let rules = ClockGuard(tolerance: 300)
    private let start = Date(timeIntervalSince1970: 1_800_000_000)

    private func reading(_ wall: Double, uptime: Double, boot: String? = "b") -> ClockReading {
        ClockReading(wall: start.addingTimeInterval(wall), uptime: uptime, boot: boot)
    }

    private func finding(
        _ reading: ClockReading, _ mark: ClockMark?, _ offsets: Double..., heardAt: Double? = nil
    ) -> String? {
        let witnesses = offsets.enumerated().map {
            let heardAt = heardAt ?? reading.uptime
            let said = reading.wall.addingTimeInterval($0.element - (reading.uptime - heardAt))
            return ClockWitness(system: "host\($0.offset)", said: said, heardAt: heardAt)
        }
        return rules.judge(reading, against: mark, witnesses: witnesses).disagreement?.sentence
    }

    @Test func whatPassedForCertainDoesNotGoByTheWallClock() {
        let then = reading(0, uptime: 1_000)
        #expect(reading(7_200, uptime: 1_005).elapsed(since: then) == 5)
        #expect(reading(-7_200, uptime: 1_005).elapsed(since: then) == 5)
        // Started anew: no longer ago than either clock says.
        #expect(reading(7_200, uptime: 40, boot: "c").elapsed(since: then) == 40)
        #expect(reading(30, uptime: 90_000, boot: "c").elapsed(since: then) == 30)
        #expect(reading(60, uptime: 1_005, boot: nil).elapsed(since: then) == 60)
    }

    @Test func theFirstLookBelieves() {
        #expect(finding(reading(0, uptime: 5), nil) == nil)
    }

    @Test func timeThatPassesIsNoDisagreement() {
        let mark = ClockMark(reading(0, uptime: 1_000))
        #expect(finding(reading(86_400, uptime: 87_400), mark) == nil)
        // Up to the tolerance, and not a second more.
        #expect(finding(reading(400, uptime: 1_100), mark) == nil)
        #expect(finding(reading(401, uptime: 1_100), mark) != nil)
        #expect(finding(reading(-300, uptime: 1_000), mark) == nil)
    }

    @Test func aLeapForwardIsFound() {
        let mark = ClockMark(reading(0, uptime: 1_000))
        let sentence = finding(reading(7_300, uptime: 1_100), mark)
        #expect(sentence == "this machine's clock leapt forward by 2 hours")
    }

    @Test func aClockThatGoesBackIsFoundOverAStartOfTheMachine() {
        let mark = ClockMark(reading(0, uptime: 1_000))
        let sentence = finding(reading(-172_900, uptime: 3, boot: "other"), mark)
        #expect(sentence == "this machine's clock is 2 days behind the time that the state has seen already")
        // It came back with a later time: that is what being off looks like.
        #expect(finding(reading(500_000, uptime: 3, boot: "other"), mark) == nil)
        #expect(finding(reading(500_000, uptime: 3, boot: nil), mark) == nil)
    }

    @Test func aSystemThatSaysAnotherTimeIsEnough() {
        let mark = ClockMark(reading(0, uptime: 1_000))
        let now = reading(100, uptime: 1_100)
        #expect(finding(now, mark, 0, 300, -300) == nil)
        #expect(finding(now, mark, 0, 301) == "this machine's clock is 5 minutes behind that of host1")
        #expect(finding(now, mark, -90_000, 4_000) == "this machine's clock is 25 hours ahead of that of host0")
        #expect(finding(now, nil, 301) != nil)
    }

    @Test func systemsThatAgreeVouchForTheClock() {
        let mark = ClockMark(reading(0, uptime: 1_000))
        #expect(finding(reading(-90_000, uptime: 1_100), mark, 1) == nil)
        #expect(finding(reading(90_000, uptime: 1_100), mark, 0, -2) == nil)
        // What was said long ago says nothing of now.
        #expect(finding(reading(90_000, uptime: 2_000), mark, 0, heardAt: 1_099) != nil)
        #expect(finding(reading(90_000, uptime: 2_000), mark, 0, heardAt: 1_100) == nil)
        // Nor what an earlier start of the machine heard.
        #expect(finding(reading(90_000, uptime: 1_100), mark, 0, heardAt: 9_000) != nil)
    }

    /// It was heard before the leap: what it said then speaks against the clock now.
    @Test func anEarlierWordSpeaksAgainstALeap() {
        let before = ClockWitness(system: "a", said: start, heardAt: 1_000)
        let mark = rules.judge(
            reading(3_700, uptime: 1_100), against: ClockMark(reading(0, uptime: 1_000)), witnesses: [before])
        #expect(mark.disagreement?.sentence == "this machine's clock is 60 minutes ahead of that of a")
    }

    @Test func theMarkOnlyMovesOnWhatIsBelieved() {
        let mark = ClockMark(reading(0, uptime: 1_000))
        let doubted = rules.judge(reading(7_300, uptime: 1_100), against: mark, witnesses: [])
        #expect(doubted.believed == mark.believed)
        #expect(doubted.disagreement?.since == start.addingTimeInterval(7_300))
        // The clock is set right again.
        let again = rules.judge(reading(150, uptime: 1_150), against: doubted, witnesses: [])
        #expect(again.disagreement == nil && again.wall == start.addingTimeInterval(150) && again.steps.isEmpty)
        // A little back is believed, and does not pull the mark back.
        let back = rules.judge(reading(100, uptime: 1_200), against: again, witnesses: [])
        #expect(back.disagreement == nil && back.wall == again.wall)
        // In small steps it gets no further back than once.
        let further = rules.judge(reading(-160, uptime: 1_300), against: back, witnesses: [])
        #expect(further.disagreement != nil)
    }

    @Test func aLeapThatIsBelievedIsNoted() {
        let mark = ClockMark(reading(0, uptime: 1_000))
        let leapt = reading(7_300, uptime: 1_100)
        let vouched = rules.judge(
            leapt, against: mark, witnesses: [ClockWitness(system: "a", said: leapt.wall, heardAt: 1_100)])
        #expect(vouched.disagreement == nil)
        #expect(vouched.leapt(since: start) == 7_200)
        #expect(vouched.leapt(since: start.addingTimeInterval(7_300)) == 0)
        #expect(rules.accepting(leapt, after: mark).leapt(since: start) == 7_200)
        // Back is no time that was lost, and a machine that was off counts as it says.
        #expect(rules.accepting(reading(-7_300, uptime: 1_100), after: mark).steps.isEmpty)
        #expect(rules.accepting(reading(90_000, uptime: 9, boot: "other"), after: mark).steps.isEmpty)
        // No more than a few are kept.
        var many = mark
        for number in 1...40 {
            many = rules.accepting(reading(Double(number) * 1_000, uptime: 1_000), after: many)
        }
        #expect(many.steps.count == 16)
        #expect(many.leapt(since: start.addingTimeInterval(39_000)) == 1_000)
    }

    /// What was dated by a clock that was behind did not begin as long ago as it seems once the clock is right again.
    @Test func aClockThatWasBehindIsRemembered() {
        func judge(_ reading: ClockReading, _ mark: ClockMark, _ offset: Double) -> ClockMark {
            let said = reading.wall.addingTimeInterval(offset)
            return rules.judge(
                reading, against: mark,
                witnesses: [ClockWitness(system: "a", said: said, heardAt: reading.uptime)])
        }
        let mark = ClockMark(reading(0, uptime: 1_000))
        let behind = judge(reading(-11_900, uptime: 1_100), mark, 12_000)
        #expect(behind.disagreement != nil && behind.believed == mark.believed && behind.steps.isEmpty)
        let promotedAt = start.addingTimeInterval(-11_500)
        let right = judge(reading(900, uptime: 1_900), behind, 0)
        #expect(right.disagreement == nil)
        #expect(right.leapt(since: promotedAt) == 12_000)
        #expect(right.leapt(since: start.addingTimeInterval(900)) == 0)
        // After a start of the machine nobody knows how much of it truly passed.
        let restarted = judge(reading(900, uptime: 5, boot: "other"), behind, 0)
        #expect(restarted.leapt(since: promotedAt) == 12_800)
    }

    @Test func aLeapBackTakesAwayFromThoseThatLeadBeyondIt() {
        let leapt = rules.accepting(reading(7_300, uptime: 1_100), after: ClockMark(reading(0, uptime: 1_000)))
        let half = rules.accepting(reading(3_700, uptime: 1_100), after: leapt)
        #expect(half.leapt(since: start) == 3_600)
        #expect(half.leapt(since: start.addingTimeInterval(3_700)) == 0)
        #expect(rules.accepting(reading(100, uptime: 1_100), after: leapt).steps.isEmpty)
        // One that has been overtaken by the time that truly passed stays.
        let later = rules.accepting(reading(17_300, uptime: 11_100), after: leapt)
        #expect(rules.accepting(reading(10_100, uptime: 11_100), after: later).leapt(since: start) == 7_200)
    }

    @Test func itSurvivesTheJournal() throws {
        var mark = rules.accepting(reading(7_300, uptime: 1_100), after: ClockMark(reading(0, uptime: 1_000)))
        mark = rules.judge(reading(90_000, uptime: 1_200), against: mark, witnesses: [])
        #expect(mark.disagreement != nil && mark.steps.count == 2 && mark.seen != mark.believed)
        #expect(try JSONDecoder().decode(ClockMark.self, from: JSONEncoder().encode(mark)) == mark)
    }
}
