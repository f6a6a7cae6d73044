import Foundation
import Testing

@testable import KeyturnCore

/// A second opinion from croniter, a widely used implementation in Python.
///
/// What is not compared, because croniter means something else by it:
/// - runs, and starts, within two days of a change of the zone's offset: croniter has its own rule for those;
/// - ranges of one value: croniter reads `5-5` as the whole field (`CronCases` makes none);
/// - `*` in a list after other values, such as `1,*` and `26,*/3`: croniter then may take a day field that names all its
///   days for unrestricted and joins the days by AND, Vixie cron goes by the first character (`CronCases` makes none);
/// - `7/2` in the day of week: the steps begin past the end of the week (`CronCases` makes none);
/// - what this package refuses and croniter takes: ranges that run backwards, and steps wider than the field.
@Suite("Cron: croniter's opinion")
struct CroniterTests {
    private struct Case: Encodable {
        let expression: String
        let zone: String
        let after: Int64
    }

    private struct Answer: Decodable {
        let next: Int64?
        let error: String?
    }

    @Test func agreesOnTwoThousandExpressions() throws {
        var generator = SeededGenerator.forTest()
        var cases: [Case] = []
        for _ in 0..<4_000 {
            cases.append(
                Case(
                    expression: try CronCases.any(using: &generator),
                    zone: try generator.pick(CronCases.zones),
                    after: Int64.random(in: 800_000_000...1_900_000_000, using: &generator)))
        }
        let answers = try Self.askCroniter(cases)
        try #require(answers.count == cases.count)

        var compared = 0
        for (question, answer) in zip(cases, answers) {
            let label: Comment =
                "seed \(generator.seed): \(question.expression) in \(question.zone) after \(question.after)"
            #expect(answer.error == nil, label)
            let zone = try timeZone(question.zone)
            let next = try CronExpression(question.expression)
                .next(after: Date(timeIntervalSince1970: Double(question.after)), in: zone)
                .map { Int64($0.timeIntervalSince1970) }
            let times = [question.after, next, answer.next].compactMap(\.self)
            if times.contains(where: { Self.clocksChange(near: $0, in: zone) }) { continue }
            #expect(next == answer.next, label)
            compared += 1
        }
        print("compared with croniter: \(compared) of \(cases.count)")
        #expect(compared >= 2_000)
    }

    private static func clocksChange(near instant: Int64, in zone: TimeZone) -> Bool {
        let offsets = [-2, 0, 2].map { days in
            zone.secondsFromGMT(for: Date(timeIntervalSince1970: Double(instant + Int64(days) * 86_400)))
        }
        return Set(offsets).count > 1
    }

    /// Runs the script beside this test with the Python of KEYTURN_TEST_PYTHON, or python3.
    private static func askCroniter(_ cases: [Case]) throws -> [Answer] {
        let folder = FileManager.default.temporaryDirectory.appending(path: "keyturn-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        // Files, not pipes: neither side can wait for the other.
        let (input, output) = (folder.appending(path: "in"), folder.appending(path: "out"))
        let encoder = JSONEncoder()
        let lines = try cases.map { String(decoding: try encoder.encode($0), as: UTF8.self) }
        try Data(lines.joined(separator: "\n").utf8).write(to: input)
        try Data().write(to: output)

        let python = ProcessInfo.processInfo.environment["KEYTURN_TEST_PYTHON"] ?? "python3"
        let script = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../Fixtures/croniter_next.py").standardizedFileURL
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = [python, script.path(percentEncoded: false)]
        process.standardInput = try FileHandle(forReadingFrom: input)
        process.standardOutput = try FileHandle(forWritingTo: output)
        try process.run()
        process.waitUntilExit()
        try #require(
            process.terminationStatus == 0,
            "\(python) could not ask croniter; install it (pip install croniter) or name a Python in KEYTURN_TEST_PYTHON"
        )
        let decoder = JSONDecoder()
        return try Data(contentsOf: output).split(separator: UInt8(ascii: "\n"))
            .map { try decoder.decode(Answer.self, from: Data($0)) }
    }
}
