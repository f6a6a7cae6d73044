import Foundation
import KeyturnCore
import KeyturnIssuers
import TestSupport
import Testing

@Suite("Programs as issuers")
struct CommandIssuerTests {
    private let folder: ScratchFolder

    init() throws { folder = try ScratchFolder() }

    private func issuer(_ script: String, _ more: Parameters = [:]) throws -> any Issuer {
        let type = try #require(IssuerRegistry.all.first { $0.description.type == "command" })
        let run = ParameterValue.list(["sh", "-c", script].map(ParameterValue.string))
        return try type.make("name", more.merging(["run": run]) { own, _ in own }, try .forTests(folder))
    }

    private func request() throws -> IssueRequest {
        IssueRequest(
            lineage: Lineage(
                secret: try SecretName("team/key"), version: 3, nonce: String(repeating: "a", count: 32)),
            parameters: [
                "parameters": .map(["list": .list([.integer(1), .decimal(0.5), .null]), "flag": .boolean(true)])
            ], lifetime: 90, intendedAt: Date(timeIntervalSince1970: 1_800_000_000), knownKeyIDs: [])
    }

    private func answer(_ text: String) async throws -> IssuedKey {
        let issuer = try issuer("cat > question; printf '%s' '\(text)'")
        return try await issuer.issue(try request(), prepared: IssuePreparation())
    }

    @Test func theQuestionSaysAllThatIsAsked() async throws {
        let key = try await answer(
            #"{"value": "v", "keyId": "k", "fields": {"user": "u"}, "expiresAt": "2027-01-15T09:00:00Z"}"#)
        #expect(key.material.value.exposedText() == "v")
        #expect(key.material.fields["user"]?.exposedText() == "u")
        #expect(key.keyID == "k")
        #expect(key.expiresAt == (try instant("2027-01-15T09:00:00Z")))
        #expect(key.issuedAt == Date(timeIntervalSince1970: 1_800_000_000))
        #expect(
            folder.read("question")
                == #"{"lifetimeSeconds":90,"lineage":"keyturn:team/key:3:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","#
                + #""operation":"create","parameters":{"parameters":{"flag":true,"list":[1,0.5,null]}},"#
                + #""secret":"team/key","version":3}"#)
    }

    @Test(arguments: [#"{"value": ""}"#, #"{}"#, #"{"value": "CANARY", "expiresAt": "tomorrow"}"#, "CANARY"])
    func anAnswerThatCanNotBeUsedMayHaveMadeAKey(text: String) async throws {
        let error = await #expect(throws: SystemError.self) { try await answer(text) }
        #expect(error?.code == .badAnswer && error?.mayHaveTakenEffect == true)
        #expect(error.map { "\($0)".contains("CANARY") } == false)
    }

    @Test func checksHaveTheirFourAnswers() async throws {
        let key = KeyHandle(
            secret: try SecretName("team/key"), version: 1, keyID: "k",
            material: KeyMaterial(value: SecretValue(utf8: "v")), parameters: [:])
        let answers: [(String, KeyCheck)] = [
            ("works", .works), ("notYet", .notYet("the program says: not yet")),
            ("refused", .refused("the program says that the key is refused")), ("cannotTell", .cannotTell),
        ]
        for (word, expected) in answers {
            #expect(try await issuer("cat > /dev/null; echo '{\"status\": \"\(word)\"}'").check(key) == expected)
        }
        let error = await #expect(throws: SystemError.self) {
            try await issuer("cat > /dev/null; echo '{\"status\": \"perhaps\"}'").check(key)
        }
        #expect(error?.code == .badAnswer)
    }

    @Test func itsTraitsAreWhatIsConfigured() throws {
        let traits = try issuer(
            "true", ["kind": .string("unlistable"), "keyLimit": .integer(5), "checks": .boolean(false)]
        ).traits
        #expect(traits.kind == .unlistable && traits.keyLimit == 5 && !traits.checks && !traits.disables)
        #expect(try issuer("true").traits.kind == .listable)
    }
}
