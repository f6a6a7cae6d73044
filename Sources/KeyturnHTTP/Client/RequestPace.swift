package import KeyturnCore
import Synchronization

/// Holds requests back so that a system never sees more than so many in any second, whoever sends them, first come,
/// first served.
///
/// It serves systems whose limit is an account's and hard, where going over it makes others fail too. A request takes its
/// place until a second after its answer came: however unevenly the network carries them, the system has seen it by then.
package final class RequestPace: Sendable {
    private struct State {
        /// From when on each place may be taken, soonest first, in seconds of uptime.
        var free: [Double]
        var waiting: [CheckedContinuation<Double, Never>] = []
        var blockedUntil = 0.0
    }

    private let time: any Timekeeper
    private let state: Mutex<State>

    /// The second, and what clocks may differ by in one.
    private static let window = 1.01
    /// How long a request waits at most because the system asked for it, in seconds; for longer the caller is told instead.
    private static let longestWait = 60.0

    package init(perSecond: Int, time: any Timekeeper) {
        self.time = time
        state = Mutex(State(free: Array(repeating: 0, count: max(1, perSecond))))
    }

    /// Makes a request when its turn has come.
    ///
    /// - Throws: what it throws; `rateLimited` when the turn would be too long in coming; `cancelled`.
    package func run<Result>(
        _ request: () async throws(SystemError) -> Result
    ) async throws(SystemError) -> Result {
        try await begin()
        defer { hand(on: time.reading().uptime + Self.window) }
        return try await request()
    }

    /// Lets no request begin for so many seconds, because the system asks for it.
    package func pause(for seconds: Double) {
        let until = time.reading().uptime + seconds
        state.withLock { $0.blockedUntil = max($0.blockedUntil, until) }
    }

    private func begin() async throws(SystemError) {
        try refuseLongPause()
        // Whoever is before us ends, at the latest, with the time that its request may take.
        let place = await withCheckedContinuation { continuation in
            let place: Double? = state.withLock { state in
                guard state.waiting.isEmpty, !state.free.isEmpty else {
                    state.waiting.append(continuation)
                    return nil
                }
                return state.free.removeFirst()
            }
            if let place { continuation.resume(returning: place) }
        }
        do throws(SystemError) {
            // The system may ask for a pause meanwhile.
            while case let left = max(place, blockedUntil) - time.reading().uptime, left > 0 {
                try refuseLongPause()
                do { try await time.sleep(for: .seconds(left)) } catch { throw Self.cancelled }
            }
            guard !Task.isCancelled else { throw Self.cancelled }
        } catch {
            hand(on: place)
            throw error
        }
    }

    private static let cancelled = SystemError(.cancelled, "the call was cancelled before it began")

    private var blockedUntil: Double { state.withLock { $0.blockedUntil } }

    private func refuseLongPause() throws(SystemError) {
        let left = blockedUntil - time.reading().uptime
        guard left > Self.longestWait else { return }
        throw SystemError(.rateLimited, "the system asked to be left alone for a while", retryAfter: left)
    }

    /// Gives a place to whoever waits for the longest.
    private func hand(on place: Double) {
        let next: CheckedContinuation<Double, Never>? = state.withLock { state in
            guard state.waiting.isEmpty else { return state.waiting.removeFirst() }
            let index = state.free.firstIndex { $0 > place } ?? state.free.endIndex
            state.free.insert(place, at: index)
            return nil
        }
        next?.resume(returning: place)
    }
}
