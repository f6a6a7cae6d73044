import Foundation
import KeyturnCore
import KeyturnHTTP
import TestSupport
import Testing

@Suite("The pace of requests")
struct RequestPaceTests {
    private let time = ManualTimekeeper(startingAt: Date(timeIntervalSince1970: 1_800_000_000))

    private var uptime: Double { time.reading().uptime }

    @Test func noMoreThanSoManyBeginInAnySecond() async throws {
        let pace = RequestPace(perSecond: 5, time: time)
        var begins: [Double] = []
        for _ in 0..<23 {
            try await pace.run {}
            begins.append(uptime)
        }
        for (earlier, later) in zip(begins, begins.dropFirst(5)) { #expect(later - earlier > 1) }
        #expect(begins[4] - begins[0] < 0.1, "the first of them need not wait")
        #expect(begins[22] - begins[0] < 5, "nobody waits for longer than needed")
    }

    @Test func manyAtOnceShareIt() async throws {
        let pace = RequestPace(perSecond: 5, time: SystemTimekeeper())
        let begun = ContinuousClock.now
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<11 { group.addTask { try await pace.run {} } }
            try await group.waitForAll()
        }
        #expect(begun.duration(to: .now) > .seconds(2))
    }

    @Test func aSystemThatAsksForAPauseGetsIt() async throws {
        let pace = RequestPace(perSecond: 5, time: time)
        try await pace.run {}
        let begun = uptime
        pace.pause(for: 7)
        try await pace.run {}
        #expect(uptime - begun >= 7)
    }

    @Test func aLongPauseIsToldAndNotWaitedFor() async throws {
        let pace = RequestPace(perSecond: 5, time: time)
        pace.pause(for: 600)
        let begun = uptime
        let error = await #expect(throws: SystemError.self) { try await pace.run {} }
        #expect(error?.code == .rateLimited)
        #expect(try #require(error?.retryAfter) > 599)
        #expect(uptime - begun < 1)
    }

    @Test func aRequestTakesItsPlaceUntilASecondAfterItsAnswer() async throws {
        let pace = RequestPace(perSecond: 1, time: time)
        let begun = uptime
        try await pace.run { time.set(Date(timeIntervalSince1970: 1_800_000_005)) }
        try await pace.run {}
        #expect(uptime - begun > 6)
    }

    @Test func aFailedRequestGivesItsPlaceBack() async throws {
        let pace = RequestPace(perSecond: 1, time: time)
        for _ in 0..<3 {
            let error = await #expect(throws: SystemError.self) {
                try await pace.run { () throws(SystemError) in throw SystemError(.notFound, "there is none") }
            }
            #expect(error?.code == .notFound)
        }
    }

    @Test func oneThatIsCancelledGoesNoFurther() async {
        let pace = RequestPace(perSecond: 1, time: SystemTimekeeper())
        let task = Task<Void, any Error> {
            // Before its turn comes, however busy the machine is.
            withUnsafeCurrentTask { $0?.cancel() }
            try await pace.run { _ = Issue.record("it had its turn") }
        }
        guard case .failure(let error as SystemError) = await task.result else {
            Issue.record("it had its turn")
            return
        }
        #expect(error.code == .cancelled)
    }
}
