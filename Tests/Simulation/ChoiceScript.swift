import KeyturnCore

/// Decides the fate of every call and write by a list of choices instead of by chance, so that all lists can be gone
/// through in turn. Beyond the end of the list everything goes well.
final class ChoiceScript {
    private enum Option: CaseIterable {
        case well, refused, lostBefore, lostAfter, diesBefore, diesAfter

        var isCrash: Bool { self == .diesBefore || self == .diesAfter }
    }

    /// One point at which there was more than one way to go on.
    private struct Point {
        var taken: Int
        let options: Int
    }

    private let mostCrashes: Int
    private let mostFaults: Int
    private let mostTogether: Int
    private var crashes = 0
    private var faults = 0
    private var points: [Point] = []
    private var position = 0
    /// Everything goes well while it is off.
    var isOn = false
    /// Is told of each call and each write before its fate is decided.
    var onChoice: () -> Void = {}

    /// - Parameters:
    ///   - crashes: how many crashes there are in one history at most.
    ///   - faults: how many refused calls and lost answers.
    ///   - together: how many of both together.
    init(crashes: Int, faults: Int, together: Int) {
        mostCrashes = crashes
        mostFaults = faults
        mostTogether = together
    }

    /// The choices of this history, in digits.
    var text: String { points.map { String($0.taken) }.joined() }

    /// How many choices this history had.
    var choices: Int { points.count }

    /// Plays the same choices again.
    func rewind() {
        isOn = false
        (crashes, faults, position) = (0, 0, 0)
    }

    /// Moves on to the next list of choices, depth first; `false` when all have been gone through.
    func advance() -> Bool {
        rewind()
        while let last = points.last, last.taken + 1 == last.options { points.removeLast() }
        guard !points.isEmpty else { return false }
        points[points.count - 1].taken += 1
        return true
    }

    func fateOfCall() -> CallFate {
        switch choose(Option.allCases) {
        case .well: .answered
        case .refused: .refused(SystemError(.unavailable, "not now"))
        case .lostBefore: .lostBefore
        case .lostAfter: .lostAfter
        case .diesBefore: .diesBefore
        case .diesAfter: .diesAfter
        }
    }

    func fateOfWrite() -> WriteFate {
        switch choose([.well, .diesBefore, .diesAfter]) {
        case .diesBefore: .diesBefore
        case .diesAfter: .diesAfter
        case .well, .refused, .lostBefore, .lostAfter: .durable
        }
    }

    private func choose(_ all: [Option]) -> Option {
        guard isOn else { return .well }
        onChoice()
        guard crashes + faults < mostTogether, crashes < mostCrashes || faults < mostFaults else { return .well }
        let options = all.filter { option in
            switch option {
            case .well: true
            case .refused, .lostBefore, .lostAfter: faults < mostFaults
            case .diesBefore, .diesAfter: crashes < mostCrashes
            }
        }
        guard options.count > 1 else { return .well }
        if position == points.count { points.append(Point(taken: 0, options: options.count)) }
        let option = options[points[position].taken]
        position += 1
        if option.isCrash { crashes += 1 } else if option != .well { faults += 1 }
        return option
    }
}
