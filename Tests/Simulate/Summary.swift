import Foundation
import Simulation

/// What a run of histories came to, to be printed and kept.
struct Summary {
    let text: String

    init(_ counts: Counts, histories: Int, first: UInt64, took seconds: Double) {
        var lines = [
            "seeds \(first)...\(first &+ UInt64(max(0, histories - 1))): \(histories) histories, "
                + "\(Self.whole(seconds)) s, \(Self.whole(Double(counts.rotations) / max(seconds, 0.001))) rotations/s"
        ]
        let facts: [(String, Int)] = [
            ("rotations", counts.rotations), ("old keys retired", counts.retired), ("crashes", counts.crashes),
            ("outside calls", counts.calls), ("writes of the journal", counts.writes),
            ("checks of a promise", counts.checks), ("unknown outcomes", counts.unknownOutcomes),
            ("possible orphans", counts.possibleOrphans),
        ]
        lines += facts.map(Self.line)
        lines.append("of these")
        lines += Fault.allCases.filter { counts[$0] > 0 }.map { Self.line($0.text, counts[$0]) }
        text = lines.joined(separator: "\n")
    }

    private static func line(_ word: String, _ number: Int) -> String {
        String(repeating: " ", count: max(1, 14 - String(number).count)) + "\(number)  \(word)"
    }

    private static func whole(_ number: Double) -> String {
        number.formatted(.number.precision(.fractionLength(0)).grouping(.never))
    }
}
