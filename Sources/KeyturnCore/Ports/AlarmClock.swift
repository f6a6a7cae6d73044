import Foundation
import Synchronization

/// Wakes tasks when their time has come: one thread that sleeps in `poll`.
///
/// The runtime's own timers are armed with absolute times of the kernel's clocks. A process whose clock is shifted from
/// outside, as time-travel tests do with `faketime`, computes those from a clock that the kernel does not share, and
/// never wakes. A relative wait does not know the difference.
final class AlarmClock: Sendable {
    static let shared = AlarmClock()

    private typealias Waiter = CheckedContinuation<Void, any Error>

    private struct Alarm {
        let at: ContinuousClock.Instant
        let waiter: Waiter
    }

    private struct State {
        var alarms: [UInt64: Alarm] = [:]
        var lastID: UInt64 = 0
        var isRunning = false
    }

    private let state = Mutex(State())
    private let bell = Pipe()
    private let clock = ContinuousClock()

    func sleep(for duration: Duration) async throws {
        try Task.checkCancellation()
        guard duration > .zero else { return await Task.yield() }
        let at = clock.now + duration
        let id = state.withLock { state in
            state.lastID += 1
            return state.lastID
        }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (waiter: Waiter) in
                // The handler may have run before there was anything to cancel.
                guard !Task.isCancelled else { return waiter.resume(throwing: CancellationError()) }
                add(id, Alarm(at: at, waiter: waiter))
                if Task.isCancelled { cancel(id) }
            }
        } onCancel: {
            cancel(id)
        }
    }

    private func add(_ id: UInt64, _ alarm: Alarm) {
        let mustStart = state.withLock { state in
            state.alarms[id] = alarm
            defer { state.isRunning = true }
            return !state.isRunning
        }
        if mustStart {
            let thread = Thread { [self] in run() }
            thread.name = "alarm clock"
            thread.stackSize = 256 * 1024
            thread.start()
        } else {
            ring()
        }
    }

    private func cancel(_ id: UInt64) {
        state.withLock { $0.alarms.removeValue(forKey: id) }?.waiter.resume(throwing: CancellationError())
    }

    private func ring() {
        var byte: UInt8 = 1
        // A full pipe rings as well.
        _ = write(bell.writing, &byte, 1)
    }

    private func run() {
        var drain = [UInt8](repeating: 0, count: 512)
        while true {
            let now = clock.now
            let (due, next) = state.withLock { state in
                let due = state.alarms.filter { $0.value.at <= now }
                for id in due.keys { state.alarms.removeValue(forKey: id) }
                return (due.values.map(\.waiter), state.alarms.values.map(\.at).min())
            }
            for waiter in due { waiter.resume() }
            var descriptor = pollfd(fd: bell.reading, events: Int16(POLLIN), revents: 0)
            if poll(&descriptor, 1, Self.milliseconds(until: next, from: now)) > 0 {
                _ = read(bell.reading, &drain, drain.count)
            }
        }
    }

    /// Rounded up, so that nobody is woken early; an hour at most.
    private static func milliseconds(
        until next: ContinuousClock.Instant?, from now: ContinuousClock.Instant
    ) -> Int32 {
        guard let next else { return 3_600_000 }
        let (seconds, attoseconds) = (next - now).components
        return Int32(clamping: min(3_600_000, seconds * 1000 + attoseconds / 1_000_000_000_000_000 + 1))
    }

    /// A pipe whose ends never block.
    private struct Pipe: Sendable {
        let reading: Int32
        let writing: Int32

        init() {
            var ends: [Int32] = [-1, -1]
            if pipe(&ends) == 0 {
                for end in ends {
                    _ = fcntl(end, F_SETFL, O_NONBLOCK)
                    _ = fcntl(end, F_SETFD, FD_CLOEXEC)
                }
            }
            reading = ends[0]
            writing = ends[1]
        }
    }
}
