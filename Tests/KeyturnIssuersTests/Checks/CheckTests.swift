import Foundation
import KeyturnCore
import KeyturnIssuers
import TestSupport
import Testing

@Suite("Checks of a new key")
struct CheckTests {
    private let folder: ScratchFolder

    init() throws { folder = try ScratchFolder() }

    private func verify(_ type: String, _ parameters: Parameters, material: Bool = true) async throws -> KeyCheck {
        let check = try CheckRegistry.make(
            PolicyCheck(type: type, parameters: parameters), try .forTests(folder))
        return try await check.verify(
            KeyHandle(
                secret: try SecretName("team/key"), version: 1, keyID: nil,
                material: material
                    ? KeyMaterial(value: SecretValue(utf8: "s3cret"), fields: ["user": SecretValue(utf8: "me")]) : nil,
                parameters: [:]))
    }

    private func server(_ status: Int) throws -> TestServer {
        try TestServer { _, channel in
            channel.answer(status, headers: ["Retry-After: 3"])
            return .keep
        }
    }

    @Test func theKeyGoesOutInAHeader() async throws {
        let server = try server(200)
        #expect(try await verify("http", ["url": .string(server.url("/ping"))]) == .works)
        #expect(
            try await verify(
                "http",
                [
                    "url": .string(server.url("/ping")), "method": .string("POST"), "header": .string("X-Key"),
                    "value": .string("{{user}}:{{value}}"),
                ]) == .works)
        #expect(server.received.map { $0.all("authorization") } == [["Bearer s3cret"], []])
        #expect(server.received.map { $0.all("x-key") } == [[], ["me:s3cret"]])
        #expect(server.received.map(\.method) == ["GET", "POST"])
    }

    @Test(
        arguments: [
            (200, .works), (204, .works), (401, .notYet("the http check was answered with HTTP 401")),
            (403, .notYet("the http check was answered with HTTP 403")),
            (404, .refused("the http check was answered with HTTP 404")),
            (302, .refused("the http check was answered with HTTP 302")),
        ] as [(Int, KeyCheck)])
    func theStatusDecides(status: Int, expected: KeyCheck) async throws {
        let server = try server(status)
        #expect(try await verify("http", ["url": .string(server.url())]) == expected)
    }

    @Test func otherStatusesMayMeanYes() async throws {
        let server = try server(418)
        #expect(try await verify("http", ["url": .string(server.url()), "status": .list([.integer(418)])]) == .works)
    }

    @Test(arguments: [201, 429, 500, 503]) func troubleIsNoAnswerToTheQuestion(status: Int) async throws {
        let server = try server(status)
        let error = await #expect(throws: SystemError.self) { try await verify("http", ["url": .string(server.url())]) }
        #expect(error?.disposition == .passing && error?.retryAfter == 3)
    }

    @Test func aProgramSaysYesNoOrNotYet() async throws {
        func verdict(_ script: String) async throws -> KeyCheck {
            try await verify("command", ["run": .list(["sh", "-c", script].map(ParameterValue.string))])
        }
        #expect(try await verdict("read -r key || true; test \"$key\" = s3cret") == .works)
        #expect(try await verdict("exit 75") == .notYet("the command check says: not yet"))
        #expect(try await verdict("exit 1") == .refused("the command check ended with status 1"))
    }

    @Test func withoutTheKeyNothingCanBeTold() async throws {
        #expect(try await verify("http", ["url": .string("http://127.0.0.1:1/")], material: false) == .cannotTell)
        #expect(try await verify("command", ["run": .list([.string("false")])], material: false) == .cannotTell)
    }

    @Test func anUnknownCheckAndAWrongTemplateAreMistakes() async throws {
        let unknown = await #expect(throws: SystemError.self) { try await verify("nonsense", [:]) }
        #expect(unknown?.message == "there is no check of type 'nonsense'")
        let wrong = await #expect(throws: SystemError.self) {
            try await verify("http", ["url": .string("http://127.0.0.1:1/"), "value": .string("{{")])
        }
        #expect(wrong?.code == .misconfigured)
    }
}
