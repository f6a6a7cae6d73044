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
            try await pace.turn()
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
            for _ in 0..<11 { group.addTask { try await pace.turn() } }
            try await group.waitForAll()
        }
        #expect(begun.duration(to: .now) > .seconds(2))
    }

    @Test func aSystemThatAsksForAPauseGetsIt() async throws {
        let pace = RequestPace(perSecond: 5, time: time)
        try await pace.turn()
        let begun = uptime
        pace.pause(for: 7)
        try await pace.turn()
        #expect(uptime - begun >= 7)
    }

    @Test func aLongPauseIsToldAndNotWaitedFor() async throws {
        let pace = RequestPace(perSecond: 5, time: time)
        pace.pause(for: 600)
        let begun = uptime
        let error = await #expect(throws: SystemError.self) { try await pace.turn() }
        #expect(error?.code == .rateLimited)
        #expect(try #require(error?.retryAfter) > 599)
        #expect(uptime - begun < 1)
    }

    @Test func oneThatIsCancelledGoesNoFurther() async {
        let pace = RequestPace(perSecond: 1, time: SystemTimekeeper())
        pace.pause(for: 30)
        let task = Task<Void, any Error> { try await pace.turn() }
        task.cancel()
        guard case .failure(let error as SystemError) = await task.result else {
            Issue.record("it had its turn")
            return
        }
        #expect(error.code == .cancelled)
    }
}
