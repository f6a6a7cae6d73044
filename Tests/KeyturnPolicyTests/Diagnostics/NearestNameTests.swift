import Testing

@testable import KeyturnPolicy

@Suite("The nearest name")
struct NearestNameTests {
    private static let known = ["renewBefore", "every", "cron", "timezone", "jitter", "window"]

    @Test(
        arguments: [
            ("renewbefore", "renewBefore"), ("renewBefor", "renewBefore"), ("evrey", "every"), ("ever", "every"),
            ("corn", "cron"), ("Cron", "cron"), ("timeZone", "timezone"), ("timezoen", "timezone"), ("jiter", "jitter"),
            ("windows", "window"),
        ])
    func isFound(text: String, expected: String) {
        #expect(NearestName.nearest(to: text, among: Self.known) == expected)
        #expect(NearestName.hint(for: text, among: Self.known) == "; did you mean '\(expected)'?")
    }

    @Test(arguments: ["colour", "x", "", "zzzzzzzzzz", "schedule-of-rotation"])
    func isNotForcedOnWhatIsFarAway(text: String) {
        #expect(NearestName.nearest(to: text, among: Self.known) == nil)
        #expect(
            NearestName.hint(for: text, among: Self.known)
                == "; there are cron, every, jitter, renewBefore, timezone, window")
    }

    @Test func withoutNamesThereIsNothingToSay() {
        #expect(NearestName.hint(for: "x", among: []).isEmpty)
        #expect(NearestName.nearest(to: "x", among: []) == nil)
    }

    @Test func oneOfTwoThatAreEquallyNearIsTheFirstByName() {
        #expect(NearestName.nearest(to: "axb", among: ["acb", "aab"]) == "aab")
    }

    @Test func diagnosticsStandInOrderAndOnce() {
        func at(_ file: String, _ line: Int, _ column: Int) -> Diagnostic {
            Diagnostic(file: file, line: line, column: column, message: "m")
        }
        let found = [at("b", 1, 1), at("a", 2, 1), at("a", 1, 9), at("a", 1, 9), at("a", 1, 1), at("a", 10, 1)]
        #expect(found.inOrder().map(\.description) == ["a:1:1: m", "a:1:9: m", "a:2:1: m", "a:10:1: m", "b:1:1: m"])
        #expect(
            Diagnostic(file: "f", line: 3, column: 4, severity: .warning, message: "m").description
                == "f:3:4: warning: m")
    }
}
