/// What happened in one or several histories.
package struct Counts: Sendable, Equatable {
    package var rotations = 0
    package var retired = 0
    package var crashes = 0
    /// Calls that reached an outside system.
    package var calls = 0
    /// Writes of the journal.
    package var writes = 0
    /// Promises that were checked.
    package var checks = 0
    package var unknownOutcomes = 0
    package var possibleOrphans = 0
    private var faults = [Int](repeating: 0, count: Fault.allCases.count)

    package init() {}

    package subscript(_ fault: Fault) -> Int {
        get { faults[fault.rawValue] }
        set { faults[fault.rawValue] = newValue }
    }

    package mutating func add(_ other: Counts) {
        for path: WritableKeyPath<Counts, Int> in [
            \.rotations, \.retired, \.crashes, \.calls, \.writes, \.checks, \.unknownOutcomes, \.possibleOrphans,
        ] { self[keyPath: path] += other[keyPath: path] }
        for fault in Fault.allCases { self[fault] += other[fault] }
    }
}
