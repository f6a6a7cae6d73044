package import KeyturnCore
import Synchronization

/// Holds requests back so that no more than so many begin in any second, whoever sends them, first come, first served.
///
/// It serves systems whose limit is an account's and hard, where going over it makes others fail too.
package final class RequestPace: Sendable {
    private struct State {
        /// When the last requests began or will begin, oldest first, in seconds of uptime.
        var begins: [Double] = []
        var blockedUntil = 0.0
    }

    private let perSecond: Int
    private let time: any Timekeeper
    private let state = Mutex(State())

    /// Over how long no more than `perSecond` begin, in seconds: they reach the system as unevenly as the network likes.
    private static let window = 1.05
    /// How long a request waits for its turn at most, in seconds; for longer the caller is told instead.
    private static let longestWait = 60.0

    package init(perSecond: Int, time: any Timekeeper) {
        self.perSecond = max(1, perSecond)
        self.time = time
    }

    /// Waits until a request may begin.
    ///
    /// - Throws: `rateLimited` when that would take too long; `cancelled`.
    package func turn() async throws(SystemError) {
        var isGranted = false
        while !isGranted {
            let now = time.reading().uptime
            let begin = reserve(at: now)
            guard begin - now <= Self.longestWait else {
                throw SystemError(
                    .rateLimited, "the system asked to be left alone for a while", retryAfter: begin - now)
            }
            if begin > now {
                do { try await time.sleep(for: .seconds(begin - now)) } catch {
                    throw SystemError(.cancelled, "the call was cancelled before it began")
                }
            }
            // The system may have asked to slow down meanwhile.
            isGranted = state.withLock { $0.blockedUntil <= max(begin, time.reading().uptime) }
        }
    }

    /// Lets no request begin for so many seconds, because the system asks for it.
    package func pause(for seconds: Double) {
        let until = time.reading().uptime + seconds
        state.withLock { $0.blockedUntil = max($0.blockedUntil, until) }
    }

    private func reserve(at now: Double) -> Double {
        state.withLock { state in
            var begin = max(now, state.blockedUntil, state.begins.last ?? 0)
            if state.begins.count >= perSecond, let oldest = state.begins.first {
                begin = max(begin, oldest + Self.window)
            }
            // One that is turned away takes nobody's place.
            guard begin - now <= Self.longestWait else { return begin }
            state.begins.append(begin)
            if state.begins.count > perSecond { state.begins.removeFirst() }
            return begin
        }
    }
}
