import Foundation
import TestSupport
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
        let answers = try PythonScript("croniter_next.py", needs: "croniter").ask(cases, for: Answer.self)
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
}
