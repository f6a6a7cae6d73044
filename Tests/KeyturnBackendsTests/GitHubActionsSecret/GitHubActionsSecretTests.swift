import CSodium
import Foundation
import KeyturnCore
import KeyturnSystem
import Synchronization
import TestSupport
import Testing

@testable import KeyturnBackends

@Suite("Secrets of GitHub Actions")
struct GitHubActionsSecretTests {
    private let folder: ScratchFolder
    private let server: FakeGitHub
    private let backend: any Backend
    private let target = BackendTarget(backend: "github", path: "octo/app#API_KEY")
    private let place = "/repos/octo/app/actions/secrets/API_KEY"
    private let name: SecretName

    init() throws {
        folder = try ScratchFolder()
        server = try FakeGitHub()
        backend = try server.backend(folder)
        name = try SecretName("team/key")
    }

    @Test(
        arguments: BackendContract.checks,
        [
            ("octo/app#API_KEY", "/repos/octo/app/actions"), ("octo#API_KEY", "/orgs/octo/actions"),
            ("octo/app/pro d/eu#API_KEY", "/repos/octo/app/environments/pro%20d%2Feu"),
        ])
    func keepsTheContract(check: ContractCheck<BackendSubject>, place: (path: String, base: String)) async throws {
        let secret = "\(place.base)/secrets/API_KEY"
        try await check.run(
            BackendSubject(
                backend, at: BackendTarget(backend: "github", path: place.path), other: "\(place.path)_OTHER",
                consumed: { [server] in server.secret(secret)?.value },
                overwrite: { [server] text in server.state.withLock { $0.write(secret, text) } }))
    }

    private func write(
        _ version: Int, _ text: String, replacing old: Int? = nil, generation: Int = 3, mayOverwrite: Bool = false
    ) -> VersionWrite {
        VersionWrite(
            secret: name, version: version, value: SecretValue(utf8: text), receipt: [:],
            replaces: old.map { VersionReference(secret: name, version: $0, receipt: [:], value: nil) },
            instance: "instance", generation: generation, expiresAt: nil, mayOverwrite: mayOverwrite)
    }

    private func failure(_ body: () async throws -> Void) async -> SystemError? {
        do { try await body() } catch { return error as? SystemError }
        return nil
    }

    private func writes() -> Int { server.requests.filter { $0.method == "PUT" }.count }

    // MARK: Sealed boxes

    private struct Question: Encodable {
        let privateKey: String
        let box: String
    }

    private struct Answer: Decodable { let message: String }

    @Test func sealedBoxesOpenInPyNaCl() throws {
        var random = SeededGenerator(seed: 20_261_129)
        #expect(sodium_init() >= 0)
        var messages: [[UInt8]] = []
        var questions: [Question] = []
        for number in 0..<300 {
            var (open, closed) = ([UInt8](repeating: 0, count: 32), [UInt8](repeating: 0, count: 32))
            crypto_box_keypair(&open, &closed)
            let length = number < 3 ? number : Int.random(in: 0...2000, using: &random)
            let message = (0..<length).map { _ in UInt8.random(in: 0...255, using: &random) }
            let box = try #require(SealedBox.seal(SecretValue(message), to: open))
            #expect(box.count == length + 48)
            messages.append(message)
            questions.append(
                Question(
                    privateKey: Data(closed).base64EncodedString(), box: Data(box).base64EncodedString()))
        }
        let answers = try PythonScript("open_sealed_box.py", needs: "pynacl").ask(questions, for: Answer.self)
        #expect(answers.map { Data(base64Encoded: $0.message).map { Array($0) } } == messages)
    }

    @Test(arguments: [[], [1], [UInt8](repeating: 1, count: 31), [UInt8](repeating: 1, count: 33)] as [[UInt8]])
    func whatIsNoKeySealsNothing(key: [UInt8]) {
        #expect(SealedBox.seal(SecretValue(utf8: "x"), to: key) == nil)
    }

    // MARK: What nobody can read back

    @Test func theNoteSaysWhatIsThere() async throws {
        let receipt = try await backend.promote(write(1, "CANARY"), at: target)
        #expect(receipt == ["updatedAt": "2027-01-01T00:1Z"])
        let variable = try #require(
            server.state.withLock { $0.variables["/repos/octo/app/actions/variables/API_KEY_KEYTURN"]?["value"] })
        #expect(!variable.contains("CANARY") && variable.contains("team/key"))
        #expect(
            try await backend.mark(of: name, instance: "instance", at: target)
                == WriteMark(instance: "instance", generation: 3, version: 1))
        _ = try await backend.promote(write(1, "CANARY"), at: target)
        #expect(writes() == 1, "what is done is not done again")
        // A state that was put back may have made another version 1.
        _ = try await backend.promote(write(1, "another one", generation: 4), at: target)
        #expect(writes() == 2 && server.secret(place)?.value == "another one")
        #expect(await failure { _ = try await backend.read(.current, at: target) }?.code == .unsupported)
    }

    /// Answers up to a request are given; that one is carried out or not, and its answer is lost.
    private static func losing(
        _ method: String, _ word: String, carriedOut: Bool, _ server: FakeGitHub
    ) -> @Sendable (TestServer.Received, TestServer.Channel) -> TestServer.Afterwards? {
        { [weak server] request, channel in
            guard let server else { return .close }
            if request.method == method, request.target.contains(word) {
                if carriedOut { _ = server.answer(request) }
                // Every repetition is lost, too.
                server.state.withLock { $0.next = losing(method, word, carriedOut: false, server) }
                return .close
            }
            let (status, body) = server.answer(request)
            channel.answer(status, body)
            server.state.withLock { $0.next = losing(method, word, carriedOut: carriedOut, server) }
            return .keep
        }
    }

    @Test(arguments: [true, false], ["GET /secrets/API_KEY", "POST /variables", "PATCH /variables", "PUT /secrets"])
    func whateverAnswerIsLostTheNextTryIsRight(carriedOut: Bool, request: String) async throws {
        let words = request.split(separator: " ").map(String.init)
        _ = try await backend.promote(write(1, "one"), at: target)
        if request.hasPrefix("POST") { server.state.withLock { $0.variables = [:] } }
        server.state.withLock { $0.next = Self.losing(words[0], words[1], carriedOut: carriedOut, server) }
        let overwrite = request.hasPrefix("POST")
        let lost = await failure {
            _ = try await backend.promote(write(2, "two", replacing: 1, mayOverwrite: overwrite), at: target)
        }
        #expect(lost != nil)
        server.state.withLock { $0.next = nil }
        _ = try await backend.promote(write(2, "two", replacing: 1, mayOverwrite: overwrite), at: target)
        #expect(server.secret(place)?.value == "two")
        #expect(try await backend.mark(of: name, instance: "instance", at: target)?.version == 2)
        _ = try await backend.promote(write(3, "three", replacing: 2), at: target)
        #expect(server.secret(place)?.value == "three")
    }

    /// The first write came through, the second one did not, and no answer to either.
    @Test(arguments: [true, false]) func twoLostAnswersInARowAreNoForeignWrite(first: Bool) async throws {
        _ = try await backend.promote(write(1, "one"), at: target)
        for carriedOut in [first, !first, false] {
            server.state.withLock { $0.next = Self.losing("PUT", "/secrets", carriedOut: carriedOut, server) }
            #expect(await failure { _ = try await backend.promote(write(2, "two", replacing: 1), at: target) } != nil)
            server.state.withLock { $0.next = nil }
        }
        _ = try await backend.promote(write(2, "two", replacing: 1), at: target)
        #expect(
            try await backend.mark(of: try SecretName("team/key"), instance: write(2, "two").instance, at: target)?
                .version == 2)
    }

    @Test func aWriteThatWasLostIsForeignToEverybodyElse() async throws {
        _ = try await backend.promote(write(1, "one"), at: target)
        server.state.withLock { $0.next = Self.losing("PUT", "/secrets", carriedOut: true, server) }
        _ = await failure { _ = try await backend.promote(write(2, "two", replacing: 1), at: target) }
        server.state.withLock { $0.next = nil }
        // The one after the lost one knows it; one that does not replace it doesn't.
        #expect(
            await failure { _ = try await backend.promote(write(3, "three", replacing: 1), at: target) }?.code
                == .conflict)
        _ = try await backend.promote(write(3, "three", replacing: 2), at: target)
        #expect(server.secret(place)?.value == "three")
    }

    @Test func anOrganizationsSecretKeepsItsVisibility() async throws {
        let organization = BackendTarget(
            backend: "github", path: "octo#API_KEY", parameters: ["visibility": .string("all")])
        let path = "/orgs/octo/actions/secrets/API_KEY"
        _ = try await backend.promote(write(1, "one"), at: BackendTarget(backend: "github", path: "octo#PLAIN"))
        #expect(server.secret("/orgs/octo/actions/secrets/PLAIN")?.visibility == "private")
        _ = try await backend.promote(write(1, "one"), at: organization)
        #expect(server.secret(path)?.visibility == "all")
        #expect(
            server.state.withLock { $0.variables["/orgs/octo/actions/variables/API_KEY_KEYTURN"]?["visibility"] }
                == "selected")
        server.state.withLock { state in
            state.secrets[path]?.visibility = "selected"
            state.secrets[path]?.repositories = [7, 8, 9]
        }
        _ = try await backend.promote(write(2, "two", replacing: 1), at: organization)
        #expect(server.secret(path)?.visibility == "selected" && server.secret(path)?.repositories == [7, 8, 9])
        let selected = BackendTarget(
            backend: "github", path: "octo#NEW",
            parameters: ["visibility": .string("selected"), "repositoryIds": .list([.integer(5)])])
        _ = try await backend.promote(write(1, "one"), at: selected)
        #expect(server.secret("/orgs/octo/actions/secrets/NEW")?.repositories == [5])
    }

    @Test func aVariableOfSomebodyElsesIsLeftAlone() async throws {
        server.state.withLock {
            $0.variables["/repos/octo/app/actions/variables/API_KEY_KEYTURN"] = ["name": "x", "value": "theirs"]
        }
        let error = await failure { _ = try await backend.promote(write(1, "one", mayOverwrite: true), at: target) }
        #expect(error?.code == .conflict && server.secret(place) == nil)
    }

    @Test func valuesThatGitHubDoesNotTakeAreNotSent() async throws {
        let long = String(repeating: "x", count: 48 * 1024 + 1)
        #expect(await failure { _ = try await backend.promote(write(1, long), at: target) }?.code == .misconfigured)
        #expect(writes() == 0)
    }

    // MARK: Answers

    @Test(arguments: [
        (401, "", SystemError.Code.unauthorized, SystemError.Disposition.permanent), (403, "", .forbidden, .permanent),
        (403, "Retry-After: 7", .rateLimited, .passing), (403, "X-RateLimit-Remaining: 0", .rateLimited, .passing),
        (422, "", .badRequest, .permanent), (429, "Retry-After: 7", .rateLimited, .passing),
        (500, "", .unavailable, .passing), (503, "", .unavailable, .passing),
    ])
    func refusalsAreToldApart(
        status: Int, header: String, code: SystemError.Code, disposition: SystemError.Disposition
    ) async throws {
        server.state.withLock { state in
            state.next = { _, channel in
                channel.answer(status, #"{"message":"CANARY"}"#, headers: header.isEmpty ? [] : [header])
                return .keep
            }
        }
        let error = try #require(await failure { _ = try await backend.promote(write(1, "CANARY"), at: target) })
        #expect(error.code == code && error.disposition == disposition, "\(error)")
        #expect(!"\(error)".contains("CANARY"))
    }

    @Test(arguments: ["<html>", "", "{", "[]", #"{"updated_at":5}"#, #"{"updated_at":""}"#])
    func whatIsNoAnswerIsSaidToBeNone(body: String) async throws {
        server.state.withLock { state in
            state.next = { _, channel in
                channel.answer(200, body)
                return .keep
            }
        }
        #expect(await failure { _ = try await backend.promote(write(1, "one"), at: target) }?.code == .badAnswer)
    }

    @Test(arguments: [
        ("octo/app#KEY", true), ("octo#K1_", true), ("octo/app/prod#KEY", true), ("octo/app/a b/c#KEY", true),
        ("octo/app", false), ("#KEY", false), ("octo/app#key", false), ("octo/app#1K", false), ("octo/app#A-B", false),
        ("octo/app#GITHUB_KEY", false), ("octo/..#KEY", false), ("octo//x#KEY", false), ("octo/app/#KEY", false),
        ("octo/app/..#KEY", false), ("octo/app/a/../..#KEY", false),
        ("oc to/app#KEY", false), ("octo/app/a\nb#KEY", false),
    ])
    func pathsAreCheckedBeforehand(path: String, isFine: Bool) throws {
        let description = try #require(BackendRegistry.descriptions.first { $0.type == "github-actions-secret" })
        #expect((description.checkPath(path) == nil) == isFine)
    }
}
