import Testing

@testable import KeyturnCore

@Suite("Back-off")
struct BackoffTests {
    private static let hour = 3_600.0

    /// The table of the documentation: base 5 s, cap 1 h.
    @Test(
        arguments: [
            (1, nil, 5), (4, nil, 40), (8, nil, 640), (12, nil, 3_600), (1, 3_600, 5), (4, 3_600, 40), (8, 3_600, 640),
            (12, 3_600, 900), (1, 600, 5), (4, 600, 40), (8, 600, 150), (12, 600, 150), (1, 60, 5), (4, 60, 15),
            (8, 60, 15), (12, 60, 15), (1, 10, 5), (4, 10, 5), (8, 10, 5), (12, 10, 5),
        ] as [(Int, Double?, Double)])
    func ceilings(attempt: Int, remaining: Double?, ceiling: Double) {
        #expect(Backoff.bounds(attempt: attempt, base: 5, cap: Self.hour, deadline: remaining) == 0...ceiling)
    }

    @Test(arguments: [0, -0.0, -1, -1e300, -.infinity, .nan] as [Double])
    func pastTheDeadlineItIsTriedOftenButNeverAtOnce(remaining: Double) {
        for attempt in [1, 5, 100] {
            #expect(Backoff.bounds(attempt: attempt, base: 5, cap: Self.hour, deadline: remaining) == 5...60)
        }
        #expect(Backoff.bounds(attempt: 1, base: 5, cap: 20, deadline: remaining) == 5...20)
        #expect(Backoff.bounds(attempt: 1, base: 1, cap: 2, deadline: remaining) == 5...5)
    }

    @Test func jitterIsFull() {
        var generator = SeededGenerator.forTest()
        var sum = 0.0
        var (least, most) = (Double.infinity, 0.0)
        for _ in 0..<4_000 {
            let delay = Backoff.delay(attempt: 6, base: 5, cap: Self.hour, using: &generator)
            sum += delay
            (least, most) = (min(least, delay), max(most, delay))
        }
        // Even over 0...160 s.
        #expect(least < 2 && most > 158 && most <= 160)
        #expect((75...85).contains(sum / 4_000))
    }

    @Test func retryAfterIsObeyed() {
        var generator = SeededGenerator.forTest()
        for remaining in [nil, 1e6, 60, 1, 0, -100] as [Double?] {
            for _ in 0..<50 {
                let delay = Backoff.delay(
                    attempt: 3, base: 5, cap: Self.hour, deadline: remaining, retryAfter: 120, using: &generator)
                #expect(delay == 120)
                let short = Backoff.delay(
                    attempt: 3, base: 5, cap: Self.hour, deadline: remaining, retryAfter: 2, using: &generator)
                #expect((2...60).contains(short))
            }
        }
    }

    @Test(arguments: [1e300, .infinity])
    func retryAfterIsBounded(retryAfter: Double) {
        var generator = SeededGenerator.forTest()
        let delay = Backoff.delay(attempt: 1, base: 5, cap: Self.hour, retryAfter: retryAfter, using: &generator)
        #expect(delay == 86_400)
    }

    @Test func neverTrapsAndNeverSleepsTheDeadlineAway() throws {
        var generator = SeededGenerator.forTest()
        let odd: [Double] = [.nan, .infinity, -.infinity, 1e308, -1, 0, .leastNonzeroMagnitude, 5, 3_600]
        for _ in 0..<20_000 {
            let attempt = try generator.pick([Int.min, -1, 0, 1, 2, 10, 63, 64, 65, 1_000, Int.max])
            let (base, cap) = (try generator.pick(odd), try generator.pick(odd))
            let deadline: Double? = generator.chance(20) ? nil : try generator.pick(odd + [30, 100, 1_000])
            let delay = Backoff.delay(attempt: attempt, base: base, cap: cap, deadline: deadline, using: &generator)
            #expect(delay.isFinite && delay >= 0 && delay <= 86_400, "seed \(generator.seed)")
            if let deadline, deadline > 20 { #expect(delay <= deadline / 4) }
        }
    }
}
