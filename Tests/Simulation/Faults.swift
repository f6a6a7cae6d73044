/// What can go wrong.
package enum Fault: Int, Sendable, CaseIterable {
    // In an outside call.
    case slow, refusedPassing, refusedForGood, lostBefore, lostAfter, late, twice, crashBeforeCall, crashAfterCall
    case suspendedInCall, keyRefused, settlesLate
    // In a write of the journal.
    case crashBeforeWrite, crashAfterWrite
    // In an hour.
    case outage, diskFull, suspension, secondProcess, restart, clockJump, policyEdit, command, compromise, drift

    /// In the words of the summary.
    package var text: String {
        switch self {
        case .slow: "a slow call"
        case .refusedPassing: "a call refused for now"
        case .refusedForGood: "a call refused for good"
        case .lostBefore: "an answer lost, without an effect"
        case .lostAfter: "an answer lost after the effect"
        case .late: "an effect that comes after its answer was given up"
        case .twice: "a call that arrives twice"
        case .crashBeforeCall: "a crash before the effect of a call"
        case .crashAfterCall: "a crash after the effect of a call"
        case .suspendedInCall: "a process suspended while a call is on its way"
        case .keyRefused: "a new key that is refused"
        case .settlesLate: "a new key that is not known everywhere at once"
        case .crashBeforeWrite: "a crash before a write is durable"
        case .crashAfterWrite: "a crash after a write is durable"
        case .outage: "an outage of one system"
        case .diskFull: "a full disk"
        case .suspension: "a suspended process"
        case .secondProcess: "a second process beside the first"
        case .restart: "a restart in good order"
        case .clockJump: "a clock that is set wrong for hours"
        case .policyEdit: "an edited policy"
        case .command: "a pause, or a rotation by hand"
        case .compromise: "a key declared compromised"
        case .drift: "an old value put back by another"
        }
    }

    /// How often it happens in the usual history: the probability for each call, write or hour.
    fileprivate var usual: Double {
        switch self {
        case .slow, .settlesLate: 0.2
        case .twice, .refusedPassing, .lostAfter, .keyRefused, .outage, .secondProcess, .command: 0.02
        case .lostBefore, .suspension, .restart, .policyEdit, .drift, .clockJump: 0.01
        case .late: 0.005
        case .crashBeforeCall, .crashAfterCall, .diskFull: 0.002
        // Of the rotations by hand.
        case .compromise: 0.1
        case .crashBeforeWrite, .crashAfterWrite: 0.001_5
        case .refusedForGood, .suspendedInCall: 0.001
        }
    }
}

/// How often things go wrong, as probabilities for each call, each write or each hour.
package struct Faults: Sendable {
    private var probabilities: [Double]

    /// The usual mixture.
    package init() { probabilities = Fault.allCases.map(\.usual) }

    private init(probabilities: [Double]) { self.probabilities = probabilities }

    /// Nothing goes wrong.
    package static let none = Faults(probabilities: Fault.allCases.map { _ in 0 })

    package subscript(_ fault: Fault) -> Double {
        get { probabilities[fault.rawValue] }
        set { probabilities[fault.rawValue] = newValue }
    }
}
