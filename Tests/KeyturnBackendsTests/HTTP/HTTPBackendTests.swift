import Foundation
import KeyturnBackends
import KeyturnCore
import Synchronization
import TestSupport
import Testing

/// A store as somebody might write one: a document a path, with a tag that changes with each write.
private final class FakeStore: Sendable {
    struct State {
        var values: [String: (text: String, tag: Int)] = [:]
        var writes = 0
        var refusal: (status: Int, body: String)?
        var losesAnswers = false
        /// Somebody writes between our read and our write.
        var intrudes = false
    }

    let state = Mutex(State())
    private let server = Mutex<TestServer?>(nil)

    init() throws {
        let server = try TestServer { [weak self] request, channel in self?.serve(request, channel) ?? .close }
        self.server.withLock { $0 = server }
    }

    var address: String { server.withLock { $0?.url("") ?? "" } }
    var requests: [TestServer.Received] { server.withLock { $0?.received ?? [] } }

    private func serve(_ request: TestServer.Received, _ channel: TestServer.Channel) -> TestServer.Afterwards {
        let body = (try? JSONSerialization.jsonObject(with: Data(request.body))) as? [String: Any] ?? [:]
        let (status, answer, tag, isLost) = state.withLock { state -> (Int, String, Int?, Bool) in
            if let refusal = state.refusal { return (refusal.status, refusal.body, nil, false) }
            guard request.all("x-token") == ["own+secret"] else { return (401, "CANARY", nil, false) }
            let found = state.values[request.target]
            guard request.method == "PUT" else {
                guard let found else { return (404, "{}", nil, false) }
                let text = String(decoding: (try? JSONEncoder().encode(found.text)) ?? Data(), as: UTF8.self)
                if state.intrudes { state.values[request.target] = ("theirs", found.tag + 1) }
                return (200, #"{"data":[{"value":\#(text)}]}"#, found.tag, false)
            }
            guard request.all("if-match") == (found.map { ["\"\($0.tag)\""] } ?? []) else {
                return (412, "CANARY", nil, false)
            }
            state.writes += 1
            state.values[request.target] = (body["value"] as? String ?? "", state.writes)
            return (204, "", nil, state.losesAnswers)
        }
        guard !isLost else { return .close }
        channel.answer(status, answer, headers: tag.map { ["ETag: \"\($0)\""] } ?? [])
        return .keep
    }
}

@Suite("Any store over HTTP")
struct HTTPBackendTests {
    private let folder: ScratchFolder
    private let store: FakeStore
    private let target = BackendTarget(backend: "store", path: "team a/key")

    init() throws {
        folder = try ScratchFolder()
        store = try FakeStore()
    }

    private var type: BackendType {
        get throws { try #require(BackendRegistry.all.first { $0.description.type == "http" }) }
    }

    private func configuration(_ changes: Parameters = [:]) -> Parameters {
        let usual: Parameters = [
            "url": .string(store.address), "headers": .map(["X-Token": .string("{{token}}")]),
            "credentials": .list([.map(["name": .string("token"), "secret": .secret(.environment("OWN"))])]),
            "write": .map([
                "method": .string("PUT"), "path": .string("/v/{{path}}"),
                "headers": .map(["If-Match": .string("{{etag}}")]),
                "json": .map([
                    "value": .string("{{value}}"), "by": .string("{{secret}} {{version}}"), "n": .string("{{version}}"),
                    "end": .string("{{expiresAt}}"),
                ]),
            ]), "read": .map(["path": .string("/v/{{path}}"), "value": .string("/data/0/value")]),
        ]
        return usual.merging(changes) { _, new in new }
    }

    private func backend() throws -> any Backend {
        try type.make("store", configuration(), try .forTests(folder, environment: ["OWN": "own+secret"]))
    }

    private func write(_ version: Int, replacing old: String? = nil) throws -> VersionWrite {
        let name = try SecretName("team/key")
        return VersionWrite(
            secret: name, version: version, value: SecretValue(utf8: "value \(version)"), receipt: [:],
            replaces: old.map {
                VersionReference(secret: name, version: version - 1, receipt: [:], value: SecretValue(utf8: $0))
            }, instance: "i", generation: 1, expiresAt: nil, mayOverwrite: false)
    }

    private func failure(_ body: () async throws -> Void) async -> SystemError? {
        do { try await body() } catch { return error as? SystemError }
        return nil
    }

    @Test(arguments: BackendContract.checks)
    func keepsTheContract(check: ContractCheck<BackendSubject>) async throws {
        let store = store
        try await check.run(
            BackendSubject(
                try backend(), at: target,
                consumed: { store.state.withLock { $0.values["/v/team%20a/key"]?.text } },
                overwrite: { text in
                    store.state.withLock { state in
                        state.writes += 1
                        state.values["/v/team%20a/key"] = (text, state.writes)
                    }
                }))
    }

    @Test func aWriteIsWhatItsDescriptionSays() async throws {
        _ = try await backend().promote(try write(3), at: target)
        let sent = try #require(store.requests.last)
        #expect(sent.method == "PUT" && sent.target == "/v/team%20a/key")
        #expect(String(decoding: sent.body, as: UTF8.self) == #"{"by":"team/key 3","n":3,"value":"value 3"}"#)
    }

    @Test func somebodyWhoWritesInBetweenIsNotOverwritten() async throws {
        let backend = try backend()
        _ = try await backend.promote(try write(1), at: target)
        store.state.withLock { $0.intrudes = true }
        let error = await failure { _ = try await backend.promote(try write(2, replacing: "value 1"), at: target) }
        #expect(error?.code == .conflict && error.map { "\($0)".contains("CANARY") } == false)
        #expect(store.state.withLock { $0.values["/v/team%20a/key"]?.text } == "theirs")
    }

    @Test func aLostAnswerIsFoundWritten() async throws {
        let backend = try backend()
        store.state.withLock { $0.losesAnswers = true }
        let lost = await failure { _ = try await backend.promote(try write(1), at: target) }
        #expect(lost?.mayHaveTakenEffect == true)
        _ = try await backend.promote(try write(1), at: target)
        #expect(store.state.withLock { $0.writes } == 1)
    }

    @Test(arguments: [
        (200, "CANARY", SystemError.Code.badAnswer), (200, #"{"data":[{"value":7}]}"#, .badAnswer),
        (401, "CANARY", .unauthorized), (403, "CANARY", .forbidden), (429, "CANARY", .rateLimited),
        (503, "CANARY", .unavailable), (302, "CANARY", .badAnswer),
    ])
    func whatGoesWrongIsToldWithoutAnswers(status: Int, body: String, code: SystemError.Code) async throws {
        let backend = try backend()
        store.state.withLock { $0.refusal = (status, body) }
        let error = try #require(await failure { _ = try await backend.read(.current, at: target) })
        #expect(error.code == code && !"\(error)".contains("CANARY"))
        #expect(await failure { _ = try await backend.promote(try write(1), at: target) }?.code == code)
    }

    @Test(arguments: ["a/../b", "..", "a//b", "", "/a", "a/", "./a"])
    func noPathLeadsElsewhere(path: String) async throws {
        #expect(try type.description.checkPath(path) != nil)
        let error = await failure {
            _ = try await backend().read(.current, at: BackendTarget(backend: "store", path: path))
        }
        #expect(error?.code == .badRequest && store.requests.isEmpty)
    }

    @Test func whatIsWrongIsFoundBeforehand() throws {
        let description = try type.description
        func problems(_ changes: Parameters) -> [String] {
            description.configuration.check(configuration(changes), [:]).map { $0.path.joined(separator: ".") }
        }
        #expect(problems([:]) == [])
        #expect(problems(["write": .map(["path": .string("/v")])]) == ["write", "write"])
        #expect(problems(["write": .map(["path": .string("/{{path}}/{{value}}")])]) == ["write"])
        #expect(
            problems(["read": .map(["path": .string("/{{path}}/{{version}}"), "value": .string("v")])])
                == ["read", "read.value"])
        #expect(
            problems(["write": .map(["path": .string("/{{path}}"), "json": .list([.string("{{value}}{{what}}")])])])
                == ["write"])
    }
}
