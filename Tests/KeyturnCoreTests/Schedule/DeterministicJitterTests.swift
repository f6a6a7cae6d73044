import Testing

@testable import KeyturnCore

@Suite("Deterministic jitter")
struct DeterministicJitterTests {
    @Test(arguments: [("payments/momento-cache", "1"), ("payments/momento-cache", "2"), ("a", ""), ("", "")])
    func isTheSameEverywhere(name: String, cycle: String) throws {
        // Computed with Python's hashlib: int(sha256(parts)[:8]) * 7201 >> 64.
        let known =
            ["payments/momento-cache|1": 1002, "payments/momento-cache|2": 5671, "a|": 27, "|": 3915] as [String: Int64]
        let offset = DeterministicJitter.offset(for: name, cycle: cycle, within: try PolicyDuration("2h"))
        #expect(offset == known["\(name)|\(cycle)"])
    }

    @Test func nameAndCycleAreNotRunTogether() throws {
        let within = try PolicyDuration("36525d")
        #expect(
            DeterministicJitter.offset(for: "ab", cycle: "c", within: within)
                != DeterministicJitter.offset(for: "a", cycle: "bc", within: within))
    }

    @Test func isSpreadEvenlyOverTheWholeSpan() throws {
        let within = try PolicyDuration("9s")
        var counts = [Int64: Int]()
        for number in 0..<10_000 {
            counts[DeterministicJitter.offset(for: "team/secret-\(number)", cycle: "7", within: within), default: 0] +=
                1
        }
        #expect(counts.keys.sorted() == Array(0...9))
        // 1000 each, with a standard deviation of 30.
        #expect(counts.values.allSatisfy { (850...1_150).contains($0) }, "\(counts)")
    }

    @Test func reachesNoFurtherThanAsked() throws {
        for text in ["1s", "1m", "36525d"] {
            let within = try PolicyDuration(text)
            for number in 0..<1_000 {
                let offset = DeterministicJitter.offset(for: "s", cycle: "\(number)", within: within)
                #expect((0...within.seconds).contains(offset))
            }
        }
    }
}
