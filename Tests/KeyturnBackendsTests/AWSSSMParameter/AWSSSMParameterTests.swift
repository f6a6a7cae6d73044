import Foundation
import KeyturnBackends
import KeyturnCore
import KeyturnSystem
import Synchronization
import TestSupport
import Testing

@Suite("AWS Parameter Store")
struct AWSSSMParameterTests {
    private let folder: ScratchFolder
    private let store: FakeParameterStore
    private let backend: any Backend
    private let target = BackendTarget(backend: "ssm", path: "/team/key")
    private let name: SecretName

    init() throws {
        folder = try ScratchFolder()
        store = try FakeParameterStore()
        backend = try store.backend(folder)
        name = try SecretName("team/key")
    }

    @Test(arguments: BackendContract.checks)
    func keepsTheContract(check: ContractCheck<BackendSubject>) async throws {
        try await check.run(
            BackendSubject(
                backend, at: target, consumed: { [store] in store.parameter("/team/key")?.values.last },
                overwrite: { [store] text in store.state.withLock { $0.write("/team/key", text) } }))
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

    @Test func theFirstWriteCarriesItsTagsAndLaterOnesGetThem() async throws {
        let configured = try store.backend(folder, ["kmsKeyId": .string("alias/own"), "tier": .string("Advanced")])
        #expect(try await configured.promote(write(1, "one"), at: target) == ["parameterVersion": "1"])
        let first = try #require(store.parameter("/team/key"))
        #expect(first.keyID == "alias/own" && first.tier == "Advanced" && first.type == "SecureString")
        #expect(
            first.tags == [
                "keyturn:secret": "team/key", "keyturn:version": "1", "keyturn:instance": "instance",
                "keyturn:generation": "3", "keyturn:parameter-version": "1",
            ])
        #expect(store.operations == ["GetParameter", "PutParameter"])
        _ = try await backend.promote(write(2, "two", replacing: (1, "one")), at: target)
        #expect(store.parameter("/team/key")?.tags["keyturn:parameter-version"] == "2")
        #expect(
            try await backend.mark(of: name, instance: "instance", at: target)
                == WriteMark(instance: "instance", generation: 3, version: 2))
        let before = VersionReference(secret: name, version: 1, receipt: ["parameterVersion": "1"], value: nil)
        #expect(try await backend.read(.version(before), at: target)?.value.exposedText() == "one")
        // The tags of a write that nobody made since say nothing about it.
        store.state.withLock { $0.write("/team/key", "theirs") }
        #expect(try await backend.mark(of: name, instance: "instance", at: target) == nil)
    }

    @Test func aLostAnswerIsResolvedByLooking() async throws {
        _ = try await backend.promote(write(1, "one"), at: target)
        for operation in ["PutParameter", "AddTagsToResource"] {
            let version = operation == "PutParameter" ? 2 : 3
            let text = "value \(version)"
            let old = version == 2 ? "one" : "value 2"
            store.state.withLock { $0.next = Self.losing(operation, store) }
            let lost = await failure {
                _ = try await backend.promote(write(version, text, replacing: (version - 1, old)), at: target)
            }
            // What may be repeated is repeated before anybody hears of it.
            if operation == "PutParameter" { #expect(lost?.mayHaveTakenEffect == true) }
            store.state.withLock { $0.next = nil }
            let receipt = try await backend.promote(write(version, text, replacing: (version - 1, old)), at: target)
            #expect(receipt == ["parameterVersion": String(version)])
            #expect(store.parameter("/team/key")?.values.count == version, "the same write is not done twice")
            #expect(try await backend.mark(of: name, instance: "instance", at: target)?.version == version)
        }
    }

    /// Everything up to an operation gets its answer; that one is carried out, and its answer is lost.
    private static func losing(
        _ operation: String, _ store: FakeParameterStore
    ) -> @Sendable (TestServer.Received, TestServer.Channel) -> TestServer.Afterwards? {
        { [weak store] request, channel in
            guard let store else { return .close }
            let (status, body) = store.answer(request)
            guard request.all("X-Amz-Target").first != "AmazonSSM.\(operation)" else { return .close }
            channel.answer(status, body)
            store.state.withLock { $0.next = losing(operation, store) }
            return .keep
        }
    }

    @Test func aForeignWriteInBetweenIsReported() async throws {
        _ = try await backend.promote(write(1, "one"), at: target)
        store.state.withLock { $0.beforeWrite = { $0.write("/team/key", "theirs") } }
        let error = await failure {
            _ = try await backend.promote(write(2, "two", replacing: (1, "one")), at: target)
        }
        #expect(error?.code == .conflict && error?.disposition == .permanent)
        #expect(error.map { "\($0)".contains("theirs") } == false)
        // A request of ours that came late is no stranger.
        store.state.withLock { $0.beforeWrite = { $0.write("/team/key", "three") } }
        _ = try await backend.promote(write(3, "three", replacing: (2, "two")), at: target)
        #expect(store.parameter("/team/key")?.values == ["one", "theirs", "two", "three", "three"])
        store.state.withLock { $0.beforeWrite = { $0.parameters["/new"] = .init(values: ["theirs"]) } }
        let made = await failure {
            _ = try await backend.promote(write(1, "one"), at: BackendTarget(backend: "ssm", path: "/new"))
        }
        #expect(made?.code == .conflict && store.parameter("/new")?.values == ["theirs"])
    }

    @Test func anotherTypeIsLeftAlone() async throws {
        store.state.withLock { $0.parameters["/team/key"] = .init(type: "String", values: ["theirs"]) }
        let error = await failure { _ = try await backend.promote(write(1, "one", mayOverwrite: true), at: target) }
        #expect(error?.code == .conflict && store.parameter("/team/key")?.values == ["theirs"])
    }

    @Test(arguments: [
        ("AccessDeniedException", SystemError.Code.forbidden, SystemError.Disposition.permanent),
        ("UnrecognizedClientException", .unauthorized, .permanent), ("ThrottlingException", .rateLimited, .passing),
        ("TooManyUpdates", .rateLimited, .passing), ("ParameterLimitExceeded", .limitExceeded, .permanent),
        ("ParameterMaxVersionLimitExceeded", .limitExceeded, .permanent), ("InvalidKeyId", .misconfigured, .permanent),
        ("InternalServerError", .unavailable, .passing), ("ValidationException", .badRequest, .permanent),
        ("ParameterPatternMismatchException", .rejectedValue, .permanent),
    ])
    func refusalsAreToldApart(
        word: String, code: SystemError.Code, disposition: SystemError.Disposition
    ) async throws {
        store.state.withLock { state in
            state.next = { _, channel in
                channel.answer(word == "InternalServerError" ? 500 : 400, #"{"__type":"\#(word)","message":"CANARY"}"#)
                return .keep
            }
        }
        let error = try #require(await failure { _ = try await backend.promote(write(1, "CANARY"), at: target) })
        #expect(error.code == code && error.disposition == disposition)
        #expect(!"\(error)".contains("CANARY"))
    }

    @Test(arguments: ["<html>", "", "{", "[]", #"{"Parameter":{"Version":"x"}}"#])
    func whatIsNoAnswerIsSaidToBeNone(body: String) async throws {
        store.state.withLock { state in
            state.next = { _, channel in
                channel.answer(200, body)
                return .keep
            }
        }
        #expect(await failure { _ = try await backend.read(.current, at: target) }?.code == .badAnswer)
    }

    @Test(arguments: [
        ("key", true), ("/team/key", true), ("team/key", false), ("", false), ("/", false), ("/a//b", false),
        ("/a/", false), ("aws-key", false), ("/ssm/key", false), ("/team/aws", true), ("/a b", false),
        ("/a/../b", false), ("..", false), ("/a:1", false),
        ("/" + Array(repeating: "a", count: 15).joined(separator: "/"), true),
        ("/" + Array(repeating: "a", count: 16).joined(separator: "/"), false),
    ])
    func namesAreCheckedBeforehand(path: String, isFine: Bool) throws {
        let description = try #require(BackendRegistry.descriptions.first { $0.type == "aws-ssm-parameter" })
        #expect((description.checkPath(path) == nil) == isFine)
    }
}
