import Foundation
import Testing

@testable import KeyturnCore

@Suite("Policy durations")
struct PolicyDurationTests {
    @Test(
        arguments: [
            ("90s", 90, "1m30s"), ("15m", 900, "15m"), ("36h", 129_600, "1d12h"), ("30d", 2_592_000, "30d"),
            ("2w", 1_209_600, "14d"), ("1d12h", 129_600, "1d12h"), ("1w2d3h4m5s", 788_645, "9d3h4m5s"),
            ("007d", 604_800, "7d"), ("0d1s", 1, "1s"), ("36525d", 3_155_760_000, "36525d"),
            ("3155760000s", 3_155_760_000, "36525d"),
        ] as [(String, Int64, String)])
    func parsesAndPrints(text: String, seconds: Int64, canonical: String) throws {
        let duration = try PolicyDuration(text)
        #expect(duration.seconds == seconds)
        #expect(duration.description == canonical)
        #expect(duration.timeInterval == Double(seconds))
    }

    @Test(
        arguments: [
            ("", 0, "empty"), ("30", 0, "no unit"), ("1d12", 2, "no unit"), ("d", 0, "whole number"),
            ("-5d", 0, "no sign"), ("+5d", 0, "no sign"), ("1.5h", 1, "1h30m"), ("12h1d", 4, "large to small"),
            ("1h1h", 3, "twice"), ("1y", 1, "365d"), ("1M", 1, "m is minutes"), ("1D", 1, "lower-case"),
            ("1 d", 1, "spaces"), ("1d ", 2, "whole number"), ("5x", 1, "not a unit"), ("0s", 0, "longer than zero"),
            ("0w0d", 0, "longer than zero"), ("36525d1s", 6, "100 years"), ("9223372036854775807s", 0, "100 years"),
            ("9223372036854775807w", 0, "100 years"), ("99999999999999999999s", 0, "100 years"),
            ("1w99999999999999999999s", 2, "100 years"), ("٣d", 0, "whole number"), ("1d💥", 2, "whole number"),
        ] as [(String, Int, String)])
    func refuses(text: String, column: Int, reason: String) throws {
        let error = try #require(throws: InvalidDuration.self) { try PolicyDuration(text) }
        #expect(error.column == column)
        #expect(error.reason.contains(reason), "\(error)")
        #expect(error.text == text)
    }

    @Test func secondsAreBounded() {
        #expect(PolicyDuration(seconds: 0) == nil)
        #expect(PolicyDuration(seconds: -1) == nil)
        #expect(PolicyDuration(seconds: PolicyDuration.maximumSeconds + 1) == nil)
        #expect(PolicyDuration(seconds: .max) == nil)
        #expect(PolicyDuration(seconds: PolicyDuration.maximumSeconds)?.description == "36525d")
    }

    @Test func theTextOfADurationParsesToIt() throws {
        var generator = SeededGenerator.forTest()
        for _ in 0..<5_000 {
            let bound = try generator.pick([100, 100_000, 10_000_000, PolicyDuration.maximumSeconds])
            let seconds = Int64.random(in: 1...bound, using: &generator)
            let duration = try #require(PolicyDuration(seconds: seconds))
            #expect(try PolicyDuration(duration.description) == duration, "seed \(generator.seed), \(seconds) s")
        }
    }

    @Test func isCodedAsItsText() throws {
        let data = try JSONEncoder().encode([PolicyDuration("36h")])
        #expect(String(decoding: data, as: UTF8.self) == #"["1d12h"]"#)
        #expect(try JSONDecoder().decode([PolicyDuration].self, from: data) == [PolicyDuration("36h")])
        #expect(throws: InvalidDuration.self) {
            try JSONDecoder().decode([PolicyDuration].self, from: Data(#"["never"]"#.utf8))
        }
    }
}
