import Foundation
import KeyturnBackends
import KeyturnCore
import KeyturnSystem
import Synchronization
import TestSupport
import Testing

@Suite("Azure Key Vault")
struct AzureKeyVaultTests {
    private let folder: ScratchFolder
    private let vault: FakeKeyVault
    private let backend: any Backend
    private let target = BackendTarget(backend: "vault", path: "team-key")
    private let name: SecretName

    init() throws {
        folder = try ScratchFolder()
        vault = try FakeKeyVault()
        backend = try vault.backend(folder)
        name = try SecretName("team/key")
    }

    @Test(arguments: BackendContract.checks, [false, true])
    func keepsTheContract(check: ContractCheck<BackendSubject>, inOneSecond: Bool) async throws {
        if inOneSecond { vault.state.withLock { $0.pageSize = 1 } }
        try await check.run(
            BackendSubject(
                backend, at: target, consumed: { [vault] in vault.consumed("team-key") },
                overwrite: { [vault] text in vault.state.withLock { $0.write("team-key", text) } }))
    }

    private func write(
        _ version: Int, _ text: String, replacing old: (Int, String)? = nil, expiresAt: Date? = nil,
        mayOverwrite: Bool = false
    ) -> VersionWrite {
        VersionWrite(
            secret: name, version: version, value: SecretValue(utf8: text), receipt: [:],
            replaces: old.map {
                VersionReference(secret: name, version: $0.0, receipt: [:], value: SecretValue(utf8: $0.1))
            }, instance: "instance", generation: 3, expiresAt: expiresAt, mayOverwrite: mayOverwrite)
    }

    private func reference(_ version: Int, _ receipt: Receipt) -> VersionReference {
        VersionReference(secret: name, version: version, receipt: receipt, value: nil)
    }

    private func failure(_ body: () async throws -> Void) async -> SystemError? {
        do { try await body() } catch { return error as? SystemError }
        return nil
    }

    @Test func writesWhatItIsAndWhenItEnds() async throws {
        let end = Date(timeIntervalSince1970: 1_900_000_000)
        let typed = BackendTarget(
            backend: "vault", path: "team-key", parameters: ["contentType": .string("text/plain")])
        _ = try await backend.promote(write(1, "one", expiresAt: end), at: typed)
        let version = try #require(vault.versions("team-key").first)
        #expect(version.exp == 1_900_000_000 && version.enabled && version.contentType == "text/plain")
        #expect(
            version.tags == [
                "keyturn-secret": "team/key", "keyturn-version": "1", "keyturn-instance": "instance",
                "keyturn-generation": "3",
            ])
        #expect(
            try await backend.mark(of: name, instance: "instance", at: target)
                == WriteMark(instance: "instance", generation: 3, version: 1))
        #expect(vault.entra.logins.count == 1, "a token is kept")
        #expect(vault.entra.logins[0]["client_secret"] == FakeEntra.secret)
        #expect(vault.entra.logins[0][""] == "/\(FakeEntra.tenant)/oauth2/v2.0/token")
    }

    @Test func aTokenThatIsRefusedIsReplacedOnce() async throws {
        try await backend.probe(target)
        vault.entra.forgetTokens()
        try await backend.probe(target)
        #expect(vault.entra.logins.count == 2)
        vault.entra.setSecrets([], of: FakeEntra.clientID)
        vault.entra.forgetTokens()
        let error = await failure { try await backend.probe(target) }
        #expect(error?.code == .unauthorized && error?.mayHaveTakenEffect == false)
        #expect(error.map { "\($0)".contains("CANARY") } == false)
    }

    @Test func aLostAnswerToAWriteIsResolvedByLooking() async throws {
        let lost = await failure { try await promoteLosingTheAnswer() }
        #expect(lost?.mayHaveTakenEffect == true)
        vault.state.withLock { $0.next = nil }
        let receipt = try await backend.promote(write(1, "one"), at: target)
        #expect(vault.versions("team-key").count == 1, "the same write is not done twice")
        #expect(receipt["versionId"] == vault.versions("team-key")[0].id)
    }

    /// The look gets its answer; the write is carried out, and its answer is lost.
    private func promoteLosingTheAnswer() async throws {
        vault.state.withLock { state in state.next = Self.losing(vault) }
        _ = try await backend.promote(write(1, "one"), at: target)
    }

    private static func losing(
        _ vault: FakeKeyVault
    ) -> @Sendable (TestServer.Received, TestServer.Channel) -> TestServer.Afterwards? {
        { [weak vault] request, channel in
            guard let vault else { return .close }
            let (status, body) = vault.answer(request)
            guard request.method != "PUT" else { return .close }
            channel.answer(status, body)
            vault.state.withLock { $0.next = losing(vault) }
            return .keep
        }
    }

    @Test func aForeignWriteInBetweenIsReported() async throws {
        _ = try await backend.promote(write(1, "one"), at: target)
        vault.state.withLock { state in
            state.beforeWrite = { state in
                state.now += 5
                state.write("team-key", "theirs")
                state.now += 1
            }
        }
        let error = await failure {
            _ = try await backend.promote(write(2, "two", replacing: (1, "one")), at: target)
        }
        #expect(error?.code == .conflict && error?.disposition == .permanent)
        #expect(error.map { "\($0)".contains("theirs") } == false)
        // Consumers have ours, and the next try is done with it.
        #expect(vault.consumed("team-key") == "two")
        _ = try await backend.promote(write(2, "two", replacing: (1, "one")), at: target)
    }

    @Test func tagsOfOthersStay() async throws {
        vault.state.withLock { $0.write("team-key", "old", tags: ["owner": "payments"], contentType: "x/y") }
        _ = try await backend.promote(write(1, "one", mayOverwrite: true), at: target)
        let version = try #require(vault.versions("team-key").last)
        #expect(version.tags["owner"] == "payments" && version.tags.count == 5 && version.contentType == "x/y")
        let many = Dictionary(uniqueKeysWithValues: (0..<12).map { ("tag\($0)", "x") })
        vault.state.withLock { $0.write("team-key", "old", tags: many) }
        let error = await failure { _ = try await backend.promote(write(2, "two", mayOverwrite: true), at: target) }
        #expect(error?.code == .limitExceeded)
    }

    @Test func ourValueWithoutOurTagsGetsThem() async throws {
        vault.state.withLock { $0.write("team-key", "one", tags: ["owner": "payments"]) }
        _ = try await backend.promote(write(1, "one"), at: target)
        let versions = vault.versions("team-key")
        #expect(versions.count == 1 && versions[0].tags.count == 5 && versions[0].tags["owner"] == "payments")
    }

    @Test func aNewestVersionThatIsDisabledIsOursOrAConflict() async throws {
        let first = try await backend.promote(write(1, "one"), at: target)
        vault.state.withLock { $0.secrets["team-key"]?[0].enabled = false }
        #expect(try await backend.read(.current, at: target) == nil)
        #expect(try await backend.read(.version(reference(1, first)), at: target) == nil)
        #expect(try await backend.mark(of: name, instance: "instance", at: target)?.version == 1)
        _ = try await backend.promote(write(2, "two", replacing: (1, "one")), at: target)
        #expect(vault.consumed("team-key") == "two")
        vault.state.withLock { state in
            state.write("team-key", "theirs")
            state.secrets["team-key"]?[2].enabled = false
            state.secrets["team-key"]?[2].created += 1
        }
        let error = await failure {
            _ = try await backend.promote(write(3, "three", replacing: (2, "two")), at: target)
        }
        #expect(error?.code == .conflict)
        _ = try await backend.promote(write(3, "three", replacing: (2, "two"), mayOverwrite: true), at: target)
        #expect(vault.consumed("team-key") == "three")
    }

    @Test func aNameInTheRecycleBinIsAConflictBeforeAnythingIsDone() async throws {
        vault.state.withLock { _ = $0.deleted.insert("team-key") }
        for body in [
            { try await backend.probe(target) }, { _ = try await backend.promote(write(1, "one"), at: target) },
        ] as [() async throws -> Void] {
            let error = await failure(body)
            #expect(error?.code == .conflict && error?.disposition == .permanent)
            #expect(error?.advice.contains("recover") == true)
        }
    }

    @Test func aSecretOfACertificateIsLeftAlone() async throws {
        vault.state.withLock { state in
            state.write("team-key", "theirs")
            state.secrets["team-key"]?[0].managed = true
        }
        let error = await failure { _ = try await backend.promote(write(1, "one", mayOverwrite: true), at: target) }
        #expect(error?.code == .conflict)
        #expect(vault.versions("team-key").count == 1)
    }

    @Test func pruningDisablesEveryWriteOfTheVersionAndNeverTheNewest() async throws {
        let first = try await backend.promote(write(1, "one"), at: target)
        let tags = vault.versions("team-key")[0].tags
        // What a repetition that was not seen leaves behind, and what others wrote.
        vault.state.withLock { state in
            state.write("team-key", "one", tags: tags)
            state.write("team-key", "theirs", tags: tags.merging(["keyturn-instance": "another"]) { $1 })
            state.write("team-key", "one", tags: tags)
        }
        try await backend.prune(reference(1, first), at: target)
        #expect(vault.versions("team-key").map(\.enabled) == [false, false, true, true])
        #expect(vault.consumed("team-key") == "one")
        _ = try await backend.promote(write(2, "two", replacing: (1, "one")), at: target)
        try await backend.prune(reference(1, first), at: target)
        #expect(vault.versions("team-key").map(\.enabled) == [false, false, true, false, true])
        #expect(try await backend.list(at: target).map(\.version) == [1, 2])
    }

    @Test func aListThatLeadsElsewhereIsNotFollowed() async throws {
        vault.state.withLock { state in
            for number in 1...3 { state.write("team-key", "\(number)") }
            state.pageSize = 2
        }
        #expect(try await backend.list(at: target).count == 3)
        vault.state.withLock { $0.foreignLink = true }
        let error = await failure { _ = try await backend.list(at: target) }
        #expect(error?.code == .badAnswer)
    }

    @Test func aListWithoutAnEndEnds() async throws {
        try await backend.probe(target)
        vault.state.withLock { $0.next = Self.turning(vault) }
        let error = await failure { _ = try await backend.list(at: target) }
        #expect(error?.code == .badAnswer)
        #expect(vault.requests.count < 20)
    }

    /// Every page of a list leads to the same next one.
    private static func turning(
        _ vault: FakeKeyVault
    ) -> @Sendable (TestServer.Received, TestServer.Channel) -> TestServer.Afterwards? {
        { [weak vault] request, channel in
            guard let vault else { return .close }
            vault.state.withLock { $0.next = turning(vault) }
            guard request.target.contains("/versions") else { return nil }
            let link = "\(vault.address)/secrets/team-key/versions?api-version=7.4&again"
            channel.answer(200, #"{"value":[],"nextLink":"\#(link)"}"#)
            return .keep
        }
    }

    @Test(arguments: [
        (403, "ForbiddenByRbac", SystemError.Code.forbidden, SystemError.Disposition.permanent),
        (403, "ForbiddenByFirewall", .forbidden, .permanent), (403, "ForbiddenByConnection", .forbidden, .permanent),
        (409, "ObjectIsBeingDeleted", .conflict, .passing),
        (409, "ObjectIsDeletedButRecoverable", .conflict, .permanent),
        (400, "BadParameter", .badRequest, .permanent), (429, "Throttled", .rateLimited, .passing),
        (500, "InternalServerError", .unavailable, .passing), (503, "", .unavailable, .passing),
    ])
    func refusalsAreToldApart(
        status: Int, word: String, code: SystemError.Code, disposition: SystemError.Disposition
    ) async throws {
        try await backend.probe(target)
        vault.state.withLock { state in
            state.next = { _, channel in
                channel.answer(
                    status, #"{"error":{"code":"CANARY","message":"CANARY","innererror":{"code":"\#(word)"}}}"#,
                    headers: ["Retry-After: 7"])
                return .keep
            }
        }
        let error = try #require(await failure { _ = try await backend.promote(write(1, "CANARY"), at: target) })
        #expect(error.code == code && error.disposition == disposition)
        #expect(!"\(error)".contains("CANARY"))
        if status == 429 { #expect(error.retryAfter == 7) }
    }

    @Test(arguments: ["<html>", "", "{", "[]", #"{"id":5}"#])
    func whatIsNoAnswerIsSaidToBeNone(body: String) async throws {
        try await backend.probe(target)
        vault.state.withLock { state in
            state.next = { _, channel in
                channel.answer(200, body)
                return .keep
            }
        }
        let error = await failure { _ = try await backend.read(.current, at: target) }
        #expect(error?.code == .badAnswer)
    }

    @Test func valuesThatTheVaultDoesNotTakeAreNotSent() async throws {
        for value in [SecretValue([0xFF, 0xFE]), SecretValue(utf8: String(repeating: "x", count: 25_601))] {
            let refused = VersionWrite(
                secret: name, version: 1, value: value, receipt: [:], replaces: nil, instance: "i", generation: 1,
                expiresAt: nil, mayOverwrite: false)
            let error = await failure { _ = try await backend.promote(refused, at: target) }
            #expect(error?.code == .misconfigured)
        }
        #expect(!vault.requests.contains { $0.method == "PUT" })
    }

    @Test func theVaultSaysWhoGivesOutTokensAndIsBelievedForItself() async throws {
        // 127.0.0.1 does not lie below vault.azure.net.
        let asking = try vault.backend(folder, ["resource": .null])
        let error = await failure { try await asking.probe(target) }
        #expect(error?.code == .misconfigured && error?.message.contains("another service") == true)
        #expect(vault.entra.logins.isEmpty)
        #expect(vault.requests.allSatisfy { $0.all("Authorization").isEmpty })
    }

    @Test(arguments: [
        ("team-key", true), ("A1", true), ("team/key", false), ("", false), ("a.b", false), ("ключ", false),
        (String(repeating: "a", count: 127), true), (String(repeating: "a", count: 128), false),
    ])
    func namesAreCheckedBeforehand(path: String, isFine: Bool) throws {
        let description = try #require(BackendRegistry.descriptions.first { $0.type == "azure-key-vault" })
        #expect((description.checkPath(path) == nil) == isFine)
        if path == "team/key" { #expect(description.checkPath(path)?.contains("'team-key'") == true) }
    }
}
