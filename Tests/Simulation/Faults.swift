/// How often things go wrong, as probabilities for each call or each hour.
package struct Faults: Sendable {
    /// For each outside call.
    package var slow = 0.2
    package var refusedPassing = 0.02
    package var refusedForGood = 0.001
    package var lostBefore = 0.01
    package var lostAfter = 0.02
    package var late = 0.005
    package var crash = 0.004
    package var keyRefused = 0.01
    /// For each write of the journal.
    package var crashAtWrite = 0.003
    /// For each hour.
    package var outage = 0.02
    package var diskFull = 0.002
    package var suspension = 0.01
    package var secondProcess = 0.01
    package var restart = 0.01
    package var clockJump = 0.0
    package var policyEdit = 0.01
    package var command = 0.02
    package var compromise = 0.002

    package init() {}

    /// Nothing goes wrong.
    package static var none: Faults {
        var faults = Faults()
        for path in all { faults[keyPath: path] = 0 }
        return faults
    }

    private static var all: [WritableKeyPath<Faults, Double>] {
        [
            \.slow, \.refusedPassing, \.refusedForGood, \.lostBefore, \.lostAfter, \.late, \.crash, \.keyRefused,
            \.crashAtWrite, \.outage, \.diskFull, \.suspension, \.secondProcess, \.restart, \.clockJump, \.policyEdit,
            \.command, \.compromise,
        ]
    }
}
