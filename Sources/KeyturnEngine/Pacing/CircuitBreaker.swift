import Foundation
import KeyturnCore

/// Leaves a system alone for a while after it failed several times in a row, so that a dead one is not hammered and its
/// secrets do not fill the places of others.
struct CircuitBreaker: Sendable {
    /// Failures in a row that open it.
    static let threshold = 5
    /// Seconds for which it stays open the first time, and at most; it doubles in between.
    static let firstPause = 15.0
    static let longestPause = 300.0

    private(set) var failures = 0
    private(set) var openUntil: Date?
    private var pause = firstPause

    /// Seconds until a call may be tried; `nil`: now. While it is open, one call goes through when the time is up.
    func remaining(at now: Date) -> Double? {
        guard let openUntil, now < openUntil else { return nil }
        return openUntil.timeIntervalSince(now)
    }

    mutating func record(success: Bool, at now: Date) {
        guard !success else {
            self = CircuitBreaker()
            return
        }
        failures += 1
        guard failures >= Self.threshold else { return }
        openUntil = now.addingTimeInterval(pause)
        pause = min(pause * 2, Self.longestPause)
    }
}

extension SystemError {
    /// Whether it says that the system itself is in trouble, and not that one request was wrong.
    var countsAgainstSystem: Bool {
        switch code {
        case .unavailable, .timedOut, .unreachable, .tls, .badAnswer: true
        default: false
        }
    }
}
