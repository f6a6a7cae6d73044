import Foundation
import KeyturnBackends
import KeyturnCore
import KeyturnSystem
import Synchronization
import TestSupport
import Testing

@Suite("Kubernetes Secrets")
struct KubernetesSecretTests {
    private let folder: ScratchFolder
    private let server: FakeKubernetes
    private let backend: any Backend
    private let target = BackendTarget(backend: "kube", path: "gateway#api-key")
    private let name: SecretName

    init() throws {
        folder = try ScratchFolder()
        server = try FakeKubernetes()
        backend = try server.backend(folder)
        name = try SecretName("team/key")
    }

    @Test(arguments: BackendContract.checks, ["gateway#api-key", "payments/gateway#.odd_", "other/a.b#9"])
    func keepsTheContract(check: ContractCheck<BackendSubject>, path: String) async throws {
        let parts = path.split(separator: "#").map(String.init)
        let place = parts[0].contains("/") ? parts[0] : "payments/\(parts[0])"
        // Other keys of the Secret, and of ours beside it, stay.
        server.state.withLock { $0.secrets[place, default: .init()].write("theirs", "stays") }
        _ = try await backend.promote(
            write(1, "ours, too"), at: BackendTarget(backend: "kube", path: "\(parts[0])#beside"))
        try await check.run(
            BackendSubject(
                backend, at: BackendTarget(backend: "kube", path: path),
                consumed: { [server] in server.consumed(place, parts[1]) },
                overwrite: { [server] text in
                    server.state.withLock { $0.secrets[place, default: .init()].write(parts[1], text) }
                }))
        #expect(server.consumed(place, "theirs") == "stays" && server.consumed(place, "beside") == "ours, too")
    }

    private func write(
        _ version: Int, _ text: String, replacing old: (Int, String)? = nil, mayOverwrite: Bool = false
    ) -> VersionWrite {
        VersionWrite(
            secret: name, version: version, value: SecretValue(utf8: text), receipt: [:],
            replaces: old.map {
                VersionReference(secret: name, version: $0.0, receipt: [:], value: SecretValue(utf8: $0.1))
            }, instance: "instance", generation: 3, expiresAt: nil, mayOverwrite: mayOverwrite)
    }

    private func failure(_ body: () async throws -> Void) async -> SystemError? {
        do { try await body() } catch { return error as? SystemError }
        return nil
    }

    @Test func theMarkIsThatOfOurOwnApply() async throws {
        _ = try await backend.promote(write(1, "one"), at: target)
        #expect(
            try await backend.mark(of: name, instance: "instance", at: target)
                == WriteMark(instance: "instance", generation: 3, version: 1))
        let patch = try #require(server.requests.first { $0.method == "PATCH" })
        #expect(patch.target.contains("fieldManager=keyturn-api-key&force=false"))
        // The same value written by somebody else is no longer ours, and is taken back with the next promote.
        server.state.withLock { $0.secrets["payments/gateway"]?.write("api-key", "one") }
        #expect(try await backend.mark(of: name, instance: "instance", at: target) == nil)
        _ = try await backend.promote(write(1, "one"), at: target)
        #expect(try await backend.mark(of: name, instance: "instance", at: target)?.version == 1)
    }

    /// Two keys of a Secret that rotate at the same time are no reason to fail.
    @Test func anotherKeyThatChangesInBetweenIsLookedAtAndStays() async throws {
        _ = try await backend.promote(write(1, "one"), at: target)
        server.state.withLock { state in
            state.beforeApply = { $0.secrets["payments/gateway"]?.write("theirs", "x") }
        }
        _ = try await backend.promote(write(2, "two", replacing: (1, "one")), at: target)
        #expect(server.consumed("payments/gateway", "api-key") == "two")
        #expect(server.consumed("payments/gateway", "theirs") == "x")
    }

    @Test func aValueOfAnothersThatComesInBetweenStays() async throws {
        _ = try await backend.promote(write(1, "one"), at: target)
        server.state.withLock { state in
            state.beforeApply = { $0.secrets["payments/gateway"]?.write("api-key", "theirs") }
        }
        let error = await failure {
            _ = try await backend.promote(write(2, "two", replacing: (1, "one")), at: target)
        }
        #expect(error?.code == .conflict && error?.disposition == .permanent)
        #expect(server.consumed("payments/gateway", "api-key") == "theirs")
    }

    @Test func anotherManagersFieldIsTakenOverOnlyWhenThatIsAllowed() async throws {
        _ = try await backend.promote(write(1, "one"), at: target)
        // Somebody applies what is there, and holds it from now on.
        server.state.withLock { $0.secrets["payments/gateway"]?.owners[["data", "api-key"]] = "helm" }
        let error = await failure {
            _ = try await backend.promote(write(2, "two", replacing: (1, "one")), at: target)
        }
        #expect(error?.code == .conflict && error?.disposition == .permanent)
        _ = try await backend.promote(write(2, "two", replacing: (1, "one"), mayOverwrite: true), at: target)
        #expect(server.consumed("payments/gateway", "api-key") == "two")
    }

    @Test func anEmptyKeyIsFilledWhoeverMadeIt() async throws {
        server.state.withLock { $0.secrets["payments/gateway", default: .init()].write("api-key", "") }
        #expect(try await backend.read(.current, at: target) == nil)
        _ = try await backend.promote(write(1, "one"), at: target)
        #expect(server.consumed("payments/gateway", "api-key") == "one")
    }

    @Test func aLostAnswerIsResolvedByLooking() async throws {
        server.state.withLock { $0.next = Self.losing(server) }
        let lost = await failure { _ = try await backend.promote(write(1, "one"), at: target) }
        #expect(lost?.mayHaveTakenEffect == true)
        server.state.withLock { $0.next = nil }
        _ = try await backend.promote(write(1, "one"), at: target)
        #expect(server.state.withLock { $0.secrets["payments/gateway"]?.version } == 1, "it is not done twice")
    }

    private static func losing(
        _ server: FakeKubernetes
    ) -> @Sendable (TestServer.Received, TestServer.Channel) -> TestServer.Afterwards? {
        { [weak server] request, channel in
            guard let server else { return .close }
            let (status, body) = server.answer(request)
            guard request.method != "PATCH" else { return .close }
            channel.answer(status, body)
            server.state.withLock { $0.next = losing(server) }
            return .keep
        }
    }

    @Test func anImmutableSecretIsAConflict() async throws {
        _ = try await backend.promote(write(1, "one"), at: target)
        server.state.withLock { $0.secrets["payments/gateway"]?.immutable = true }
        _ = try await backend.promote(write(1, "one"), at: target)
        let error = await failure {
            _ = try await backend.promote(write(2, "two", replacing: (1, "one"), mayOverwrite: true), at: target)
        }
        #expect(error?.code == .conflict && error?.message.contains("immutable") == true)
    }

    @Test func bytesThatAreNoTextAreStored() async throws {
        let value = SecretValue([0xFF, 0x00, 0x0A])
        let write = VersionWrite(
            secret: name, version: 1, value: value, receipt: [:], replaces: nil, instance: "i", generation: 1,
            expiresAt: nil, mayOverwrite: false)
        _ = try await backend.promote(write, at: target)
        #expect(try await backend.read(.current, at: target)?.value.matches(value) == true)
    }

    @Test func missingRightsAreSeenBeforeAnythingIsDone() async throws {
        server.state.withLock { $0.denied = ["create"] }
        let error = await failure { try await backend.probe(target) }
        #expect(error?.code == .forbidden && error?.message.contains("create") == true)
        server.state.withLock { $0.secrets["payments/gateway", default: .init()].write("x", "y") }
        try await backend.probe(target)
        server.state.withLock { $0.denied = ["patch"] }
        #expect(await failure { try await backend.probe(target) }?.code == .forbidden)
        #expect(!server.requests.contains { $0.method == "PATCH" })
    }

    @Test(arguments: [
        (401, SystemError.Code.unauthorized, SystemError.Disposition.permanent), (403, .forbidden, .permanent),
        (404, .notFound, .permanent), (422, .badRequest, .permanent),
        (429, .rateLimited, .passing), (500, .unavailable, .passing), (503, .unavailable, .passing),
        (301, .badAnswer, .permanent),
    ])
    func refusalsAreToldApart(
        status: Int, code: SystemError.Code, disposition: SystemError.Disposition
    ) async throws {
        server.state.withLock { state in
            state.next = { _, channel in
                channel.answer(status, #"{"kind":"x","message":"CANARY"}"#, headers: ["Retry-After: 7"])
                return .keep
            }
        }
        let error = try #require(await failure { _ = try await backend.promote(write(1, "CANARY"), at: target) })
        #expect(error.code == code && error.disposition == disposition, "\(error)")
        #expect(!"\(error)".contains("CANARY"))
        if status == 429 { #expect(error.retryAfter == 7) }
    }

    @Test(arguments: [
        "<html>", "", "{", "[]", #"{"kind":"Pod","metadata":{}}"#,
        #"{"kind":"Secret","metadata":{},"data":{"api-key":"%"}}"#,
    ])
    func whatIsNoAnswerIsSaidToBeNone(body: String) async throws {
        server.state.withLock { state in
            state.next = { _, channel in
                channel.answer(200, body)
                return .keep
            }
        }
        #expect(await failure { _ = try await backend.read(.current, at: target) }?.code == .badAnswer)
    }

    @Test(arguments: [
        ("gateway#key", true), ("payments/gateway#api_key.json", true), ("a.b#k", true), ("gateway", false),
        ("#key", false), ("Gateway#key", false), ("-a#key", false), ("pay.ments/a#key", false), ("a/b/c#key", false),
        ("a#", false), ("a#..", false), ("a#ke y", false), ("a..b#k", false), ("/a#k", false), ("a?x#k", false),
    ])
    func pathsAreCheckedBeforehand(path: String, isFine: Bool) throws {
        let description = try #require(BackendRegistry.descriptions.first { $0.type == "kubernetes-secret" })
        #expect((description.checkPath(path) == nil) == isFine)
    }
}
