import Foundation
import Testing

/// SplitMix64: the same numbers for the same seed on every machine.
struct SeededGenerator: RandomNumberGenerator {
    let seed: UInt64
    private var state: UInt64

    init(seed: UInt64) {
        self.seed = seed
        state = seed
    }

    /// The seed in KEYTURN_TEST_SEED, so that a run can be varied; it is printed, so that a failure can be had again.
    static func forTest(_ name: String = #function) -> SeededGenerator {
        let seed = ProcessInfo.processInfo.environment["KEYTURN_TEST_SEED"].flatMap(UInt64.init) ?? 20_260_101
        print("\(name): KEYTURN_TEST_SEED=\(seed)")
        return SeededGenerator(seed: seed)
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var word = state
        word = (word ^ (word >> 30)) &* 0xBF58_476D_1CE4_E5B9
        word = (word ^ (word >> 27)) &* 0x94D0_49BB_1331_11EB
        return word ^ (word >> 31)
    }

    mutating func pick<Value>(_ values: [Value]) throws -> Value {
        try #require(values.randomElement(using: &self))
    }

    mutating func chance(_ percent: Int) -> Bool { Int.random(in: 0..<100, using: &self) < percent }
}

/// An instant written as RFC 3339, such as `2025-03-30T01:00Z`; seconds may be left out.
func instant(_ text: String) throws -> Date {
    let full = text.count == 17 ? text.dropLast() + ":00Z" : Substring(text)
    return try Date(String(full), strategy: .iso8601)
}

func timeZone(_ identifier: String) throws -> TimeZone {
    try #require(TimeZone(identifier: identifier), "zone \(identifier) is not known here")
}

func text(_ date: Date?) -> String {
    date.map { $0.formatted(.iso8601).replacing(":00Z", with: "Z") } ?? "nil"
}
