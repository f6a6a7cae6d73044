import Foundation

/// True time in a simulation: it stands still while anything can run, then jumps to the next thing that waits.
final class SimulatedClock: @unchecked Sendable {
    // @unchecked: used by the simulation's one thread alone.
    private enum Wake {
        case sleeper(CheckedContinuation<Void, any Error>)
        case action(() -> Void)
    }

    private struct Entry {
        let at: Double
        let id: UInt64
        let wake: Wake
    }

    /// Seconds since 1970.
    private(set) var now: Double
    private var lastID: UInt64 = 0
    /// A heap by time, then by id.
    private var heap: [Entry] = []
    private var cancelled: Set<UInt64> = []
    private var sleepers: [UInt64: CheckedContinuation<Void, any Error>] = [:]

    init(startingAt now: Double) { self.now = now }

    var date: Date { Date(timeIntervalSince1970: now) }

    func makeID() -> UInt64 {
        lastID += 1
        return lastID
    }

    func at(_ time: Double, _ action: @escaping () -> Void) {
        push(Entry(at: max(now, time), id: makeID(), wake: .action(action)))
    }

    func after(_ seconds: Double, _ action: @escaping () -> Void) { at(now + seconds, action) }

    /// Resumes `waiter` after so many seconds, unless it is cancelled before.
    func add(_ waiter: CheckedContinuation<Void, any Error>, id: UInt64, seconds: Double) {
        sleepers[id] = waiter
        push(Entry(at: now + seconds, id: id, wake: .sleeper(waiter)))
    }

    func cancel(_ id: UInt64) {
        guard let waiter = sleepers.removeValue(forKey: id) else { return }
        cancelled.insert(id)
        waiter.resume(throwing: CancellationError())
    }

    /// Forgets what waits. What slept is woken by a cancellation.
    func end() {
        heap = []
        let waiters = sleepers.values
        sleepers = [:]
        for waiter in waiters { waiter.resume(throwing: CancellationError()) }
    }

    /// Moves on to the next thing that waits; `false` when there is none.
    func advance() -> Bool {
        while let entry = pop() {
            if cancelled.remove(entry.id) != nil { continue }
            now = max(now, entry.at)
            switch entry.wake {
            case .sleeper(let waiter):
                sleepers[entry.id] = nil
                waiter.resume()
            case .action(let action): action()
            }
            return true
        }
        return false
    }

    private func push(_ entry: Entry) {
        heap.append(entry)
        var child = heap.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard Self.precedes(heap[child], heap[parent]) else { break }
            heap.swapAt(child, parent)
            child = parent
        }
    }

    private func pop() -> Entry? {
        guard let first = heap.first else { return nil }
        let last = heap.removeLast()
        guard !heap.isEmpty else { return first }
        heap[0] = last
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2]
            where child < heap.count && Self.precedes(heap[child], heap[least]) {
                least = child
            }
            guard least != parent else { break }
            heap.swapAt(parent, least)
            parent = least
        }
        return first
    }

    private static func precedes(_ left: Entry, _ right: Entry) -> Bool {
        (left.at, left.id) < (right.at, right.id)
    }
}
