/// How long to wait before a failed step is tried again: exponential, with full jitter, tighter as a deadline nears.
///
/// The wait is drawn evenly from 0 to a ceiling. With `base` 5 s and `cap` 1 h the ceilings are:
///
/// | attempt | no deadline | 1 h left | 10 min left | 1 min left | 10 s left | past the deadline |
/// |--------:|------------:|---------:|------------:|-----------:|----------:|------------------:|
/// |       1 |         5 s |      5 s |         5 s |        5 s |       5 s |    from 5 to 60 s |
/// |       4 |        40 s |     40 s |        40 s |       15 s |       5 s |    from 5 to 60 s |
/// |       8 |       640 s |    640 s |       150 s |       15 s |       5 s |    from 5 to 60 s |
/// |      12 |         1 h |    900 s |       150 s |       15 s |       5 s |    from 5 to 60 s |
///
/// Past the deadline the rotation is late already: it is tried often, whatever the attempt, but never without a pause.
package enum Backoff {
    /// The part of the remaining time that one wait may use.
    package static let shareOfRemaining = 0.25
    /// Seconds: a deadline never makes the ceiling lower than this.
    package static let floor = 5.0
    /// Seconds: the longest wait past the deadline.
    package static let longestPastDeadline = 60.0
    /// Seconds: a system that asks for a longer pause than a day is asked again after a day.
    package static let longestRetryAfter = 86_400.0

    /// The wait in seconds: finite, at least 0.
    ///
    /// - Parameters:
    ///   - attempt: the number of failed attempts so far, from 1. Less counts as 1.
    ///   - base: the ceiling after the first failure, in seconds.
    ///   - cap: the highest ceiling, in seconds.
    ///   - deadline: seconds that remain to the last safe start; 0 or less when it is past, `nil` when there is none.
    ///   - retryAfter: seconds that the other system asked to be left alone. The wait is never shorter, whatever the
    ///     deadline; it is bounded by ``longestRetryAfter``.
    ///   - generator: the source of randomness.
    package static func delay(
        attempt: Int,
        base: Double,
        cap: Double,
        deadline: Double? = nil,
        retryAfter: Double? = nil,
        using generator: inout some RandomNumberGenerator
    ) -> Double {
        let range = bounds(attempt: attempt, base: base, cap: cap, deadline: deadline)
        let drawn = Double.random(in: range, using: &generator)
        return max(drawn, finite(retryAfter ?? 0, atMost: longestRetryAfter))
    }

    /// The range from which the wait is drawn, before `retryAfter`.
    package static func bounds(attempt: Int, base: Double, cap: Double, deadline: Double?) -> ClosedRange<Double> {
        // Infinity and figures that are not numbers end here, before anything could trap on them.
        let cap = finite(cap, atMost: longestRetryAfter)
        let base = finite(base, atMost: cap)
        if let deadline, !(deadline > 0) {
            return floor...max(floor, min(longestPastDeadline, cap))
        }
        // 2^63 of the smallest base is beyond any cap: a larger exponent adds nothing.
        var ceiling = min(cap, base * Double(sign: .plus, exponent: min(max(attempt, 1) - 1, 63), significand: 1))
        if let deadline { ceiling = min(ceiling, max(floor, deadline * shareOfRemaining)) }
        return 0...ceiling
    }

    private static func finite(_ value: Double, atMost limit: Double) -> Double {
        value > 0 ? min(value, limit) : 0
    }
}
