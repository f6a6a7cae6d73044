import Foundation
import KeyturnCore
import Testing

@Suite("Parameters")
struct ParameterTests {
    private let parameters: Parameters = [
        "text": .string("a"), "number": .integer(3), "flag": .boolean(false), "seconds": .integer(90),
        "words": .list([.string("x"), .integer(1), .string("y")]), "map": .map(["k": .string("v")]),
        "secret": .secret(.environment("TOKEN")), "decimal": .decimal(1.5), "nothing": .null,
    ]

    @Test func accessorsGiveWhatHasTheirType() {
        #expect(parameters.string("text") == "a")
        #expect(parameters.integer("number") == 3)
        #expect(parameters.boolean("flag") == false)
        #expect(parameters.seconds("seconds") == 90)
        #expect(parameters.strings("words") == ["x", "y"])
        #expect(parameters.list("words")?.count == 3)
        #expect(parameters.map("map")?.string("k") == "v")
        #expect(parameters.secret("secret") == .environment("TOKEN"))
    }

    @Test func accessorsGiveNothingElse() {
        for name in parameters.keys.sorted() + ["absent"] {
            if name != "text" { #expect(parameters.string(name) == nil, "\(name)") }
            if name != "number", name != "seconds" { #expect(parameters.integer(name) == nil, "\(name)") }
            if name != "flag" { #expect(parameters.boolean(name) == nil, "\(name)") }
            if name != "words" { #expect(parameters.list(name) == nil, "\(name)") }
            if name != "map" { #expect(parameters.map(name) == nil, "\(name)") }
            if name != "secret" { #expect(parameters.secret(name) == nil, "\(name)") }
        }
    }

    @Test func valuesSurviveTheJournal() throws {
        let data = try JSONEncoder().encode(parameters)
        #expect(try JSONDecoder().decode(Parameters.self, from: data) == parameters)
    }

    @Test func fieldsAreOptionalWithoutDefaultUnlessTheySayOtherwise() {
        let schema = ParameterSchema([
            ParameterField("a", .string(), "First."),
            ParameterField("b", .integer(1...2), required: true, "Second."),
            ParameterField("c", .boolean, default: .boolean(true), "Third."),
        ])
        #expect(schema.fields.map(\.name) == ["a", "b", "c"])
        #expect(schema.fields.map(\.required) == [false, true, false])
        #expect(schema.fields.map(\.fallback) == [nil, nil, .boolean(true)])
        #expect(ParameterSchema().fields.isEmpty)
    }

    @Test func referencesAreShownWithoutWhatTheyLeadTo() throws {
        #expect(SecretReference.environment("TOKEN").description == "env TOKEN")
        #expect(SecretReference.file("/run/token").description == "file /run/token")
        #expect(SecretReference.command(["./get", "--key", "CANARY"]).description == "command ./get")
        #expect(SecretReference.vault(try SecretName("team/key")).description == "vault team/key")
    }
}

@Suite("Ports")
struct PortTests {
    @Test func everyCodeHasADisposition() {
        let passing: Set<SystemError.Code> = [
            .rateLimited, .unavailable, .timedOut, .unreachable, .badAnswer, .cancelled, .notYet, .circuitOpen,
        ]
        for code in SystemError.Code.allCases {
            #expect(
                SystemError(code, "x").disposition == (passing.contains(code) ? .passing : .permanent), "\(code)")
        }
        #expect(SystemError(.notFound, "x", disposition: .passing).disposition == .passing)
    }

    @Test func errorsSayCodeAndAdvice() {
        #expect(SystemError(.notFound, "no key").description == "no key [notFound]")
        #expect(SystemError(.tls, "no", advice: "do").description == "no [tls]; do")
    }

    @Test func idempotencyKeysDifferInEachPart() throws {
        let name = try SecretName("a")
        let other = try SecretName("b")
        let keys = [
            IdempotencyKey.hex(instance: "i", secret: name, version: 1),
            IdempotencyKey.hex(instance: "j", secret: name, version: 1),
            IdempotencyKey.hex(instance: "i", secret: other, version: 1),
            IdempotencyKey.hex(instance: "i", secret: name, version: 2),
        ]
        #expect(Set(keys).count == 4)
        #expect(keys.allSatisfy { $0.count == 64 })
        #expect(keys[0] == IdempotencyKey.hex(instance: "i", secret: name, version: 1))
        let uuid = IdempotencyKey.uuid(instance: "i", secret: name, version: 1)
        #expect(UUID(uuidString: uuid)?.uuidString.lowercased() == uuid)
        let digits = Array(uuid)
        #expect(digits[14] == "8")
        #expect(["8", "9", "a", "b"].contains(digits[19]))
    }

    @Test func stagesSayWhetherAKeyMayExistAndMustWork() {
        let existing: Set<Stage> = [.pending, .current, .previous, .disabled]
        let working: Set<Stage> = [.current, .previous]
        for stage in Stage.allCases {
            #expect(stage.mayExistAtIssuer == existing.contains(stage), "\(stage)")
            #expect(stage.mustWork == working.contains(stage), "\(stage)")
        }
    }
}
