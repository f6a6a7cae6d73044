import Foundation

/// Works on the items 0, 1, 2 and so on below `count` in several threads, and hands the results out in that order, so that what is made of
/// them is the same however many threads there are.
final class InOrder<Result: Sendable>: @unchecked Sendable {
    // @unchecked: the state below is touched only under `condition`.
    private let count: Int
    private let width: Int
    private let work: @Sendable (Int) -> Result
    private let condition = NSCondition()
    private var next = 0
    private var wanted = 0
    private var finished: [Int: Result] = [:]
    private var isOver = false
    private var running = 0

    /// How far the threads may run ahead of the result that is waited for, for each of them.
    private static var lead: Int { 16 }

    init(_ count: Int, width: Int, work: @escaping @Sendable (Int) -> Result) {
        self.count = count
        self.width = min(width, count)
        self.work = work
    }

    /// Hands out results until `body` says that it has enough, or there are no more.
    func handOut(_ body: (Result) -> Bool) {
        running = width
        for _ in 0..<width {
            let thread = Thread { [self] in workUntilOver() }
            thread.stackSize = 16 << 20
            thread.start()
        }
        var left = count
        while left > 0, body(takeNext()) { left -= 1 }
        condition.lock()
        isOver = true
        condition.broadcast()
        while running > 0 { condition.wait() }
        condition.unlock()
    }

    private func takeNext() -> Result {
        condition.lock()
        defer { condition.unlock() }
        while true {
            if let result = finished.removeValue(forKey: wanted) {
                wanted += 1
                condition.broadcast()
                return result
            }
            condition.wait()
        }
    }

    private func workUntilOver() {
        condition.lock()
        while !isOver, next < count {
            guard next < wanted + width * Self.lead else {
                condition.wait()
                continue
            }
            let item = next
            next += 1
            condition.unlock()
            let result = work(item)
            condition.lock()
            finished[item] = result
            condition.broadcast()
        }
        running -= 1
        condition.broadcast()
        condition.unlock()
    }
}
