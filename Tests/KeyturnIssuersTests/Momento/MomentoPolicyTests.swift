import KeyturnCore
import KeyturnIssuers
import Testing

@Suite("What policies say of Momento's keys")
struct MomentoPolicyTests {
    private let month: Int64 = 30 * 86_400
    private let configuration: Parameters = ["apiKey": .secret(.environment("KEY"))]

    private func problems(
        _ type: String, _ issue: Parameters, lifetime: Int64? = 30 * 86_400, _ configuration: Parameters? = nil
    ) throws -> [ParameterProblem] {
        let description = try #require(IssuerRegistry.descriptions.first { $0.type == type })
        return description.check(configuration ?? self.configuration, issue, lifetime)
    }

    private func statement(_ members: [String: String]) -> ParameterValue {
        .map(members.mapValues(ParameterValue.string))
    }

    private func v1(_ statements: [ParameterValue], _ more: Parameters = [:]) throws -> [ParameterProblem] {
        try problems("momento-v1", more.merging(["permissions": .list(statements)]) { own, _ in own })
    }

    private func reading(_ cache: String) -> ParameterValue { statement(["cache": cache, "role": "readonly"]) }

    @Test func everyKindOfStatementIsTaken() throws {
        let statements: [ParameterValue] = [
            statement(["cache": "a", "role": "readwrite"]),
            statement(["cache": "*", "role": "readonly", "items": "*"]),
            .map(["cache": .string("b"), "role": .string("writeonly"), "items": .map(["key": .string("k")])]),
            .map(["cache": .string("b"), "role": .string("readonly"), "items": .map(["prefix": .string("k")])]),
            statement(["cache": "a", "role": "publishsubscribe", "topic": "*"]),
            statement(["cache": "a", "role": "subscribeonly", "topic": "t"]),
            .map(["cache": .string("a"), "role": .string("publishonly"), "topic": .map(["prefix": .string("t")])]),
            statement(["cache": "*", "role": "invoke", "function": "*"]),
            .map(["cache": .string("a"), "role": .string("invoke"), "function": .map(["name": .string("f")])]),
            .map(["cache": .string("a"), "role": .string("invoke"), "function": .map(["prefix": .string("f")])]),
        ]
        #expect(try v1(statements) == [])
    }

    @Test(
        "A mistake is shown where it is",
        arguments: [
            (["cache": "a", "role": "invoke"], "role"), (["cache": "a", "role": "publishonly"], "role"),
            (["cache": "a", "role": "readonly", "topic": "t"], "role"),
            (["cache": "a", "role": "subscribeonly", "function": "f"], "role"),
            (["cache": "a", "role": "readonly", "items": "*", "topic": "t"], "topic"),
        ])
    func mistakes(members: [String: String], field: String) throws {
        let found = try v1([reading("b"), statement(members)])
        #expect(found.map(\.path) == [["permissions", "1", field]])
        #expect(found.allSatisfy { !$0.isWarning })
    }

    @Test func aSelectorIsOneThing() throws {
        let both: ParameterValue = .map(["name": .string("t"), "prefix": .string("t")])
        for topic in [both, .map([:])] {
            let found = try v1([
                reading("b"), .map(["cache": .string("a"), "role": .string("publishonly"), "topic": topic]),
            ])
            #expect(found.map(\.path) == [["permissions", "1", "topic"]])
        }
    }

    @Test func repetitionsAndContradictionsAreErrors() throws {
        let twice = try v1([reading("a"), reading("b"), reading("a")])
        #expect(twice.map(\.path) == [["permissions", "2"]])
        #expect(twice.first?.message.contains("number 1") == true)
        let against = try v1([reading("a"), statement(["cache": "a", "role": "readwrite", "items": "*"])])
        #expect(against.map(\.path) == [["permissions", "1"]])
        #expect(against.first?.message.contains("another role") == true)
        let fine = try v1([reading("a"), statement(["cache": "a", "role": "subscribeonly", "topic": "*"])])
        #expect(fine == [])
    }

    @Test func manyStatementsAreAWarningAndTooManyAnError() throws {
        func found(_ count: Int) throws -> [ParameterProblem] { try v1((0..<count).map { reading("c\($0)") }) }
        #expect(try found(10) == [])
        #expect(try found(11).map(\.isWarning) == [true])
        #expect(try found(20).map(\.isWarning) == [true])
        #expect(try found(21).map(\.isWarning) == [false])
    }

    @Test func aSuperUserIsTheConsolesToMake() throws {
        let refused = try problems("momento-v1", ["superUser": .boolean(true)])
        #expect(refused.contains { !$0.isWarning && $0.message.contains("console") && $0.message.contains("refresh") })
        let kept: Parameters = [
            "superUser": .boolean(true), "renew": .string("refresh"), "check": .map(["cache": .string("a")]),
        ]
        #expect(try problems("momento-v1", kept) == [])
        #expect(try problems("momento-v1", kept, [:]) == [], "refreshing needs no key of the issuer's own")
    }

    @Test func aKeyNeedsPermissionsAndOneToMakeItWith() throws {
        #expect(try problems("momento-v1", [:]).contains { !$0.isWarning && $0.message.contains("permissions") })
        let lacking = try problems("momento-v1", ["permissions": .list([reading("a")])], [:])
        #expect(lacking.map(\.path) == [["permissions"]] && lacking.first?.message.contains("apiKey") == true)
    }

    @Test func whatChecksAKeyIsSomethingThatItMayRead() throws {
        let check: Parameters = ["check": .map(["cache": .string("b")])]
        #expect(try v1([reading("a")], check).map(\.path) == [["check"]])
        #expect(try v1([reading("*")], check) == [])
        let narrow: ParameterValue = .map([
            "cache": .string("b"), "role": .string("readonly"), "items": .map(["prefix": .string("user:")]),
        ])
        #expect(try v1([narrow], check).map(\.path) == [["check"]])
        #expect(try v1([narrow], ["check": .map(["cache": .string("b"), "item": .string("user:1")])]) == [])
        // One that can be made out of the statements.
        #expect(try v1([narrow]) == [])
        let unproven = try v1([statement(["cache": "a", "role": "writeonly"])])
        #expect(unproven.map(\.isWarning) == [true] && unproven.first?.message.contains("check") == true)
    }

    @Test(arguments: ["momento", "momento-v1"])
    func aTokensLifeIsAWarning(type: String) throws {
        let issue: Parameters = [
            "role": .string("r"), "permissions": .list([reading("a")]), "check": .map(["cache": .string("a")]),
        ]
        for (lifetime, warns) in [(3600, true), (25 * 3600, true), (26 * 3600, false), (30 * 86_400, false)] {
            let found = try problems(type, issue, lifetime: Int64(lifetime))
            #expect(found.map(\.isWarning) == (warns ? [true] : []), "\(lifetime)")
            #expect(found.allSatisfy { $0.message.contains("token") })
        }
        #expect(try problems(type, issue, lifetime: nil) == [])
    }

    @Test func theSecondGenerationWantsACheckToo() throws {
        let found = try problems("momento", ["role": .string("r")])
        #expect(found.map(\.isWarning) == [true])
        #expect(try problems("momento", ["role": .string("r"), "check": .map(["cache": .string("a")])]) == [])
    }

    @Test func anEndpointIsAHost() throws {
        let description = try #require(IssuerRegistry.descriptions.first { $0.type == "momento" })
        for (endpoint, isFine) in [("cell.example.com", true), ("https://cell.example.com", false), ("a/b", false)] {
            #expect(description.configuration.check(["endpoint": .string(endpoint)], [:]).isEmpty == isFine)
        }
    }
}
