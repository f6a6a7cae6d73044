import Foundation
import KeyturnBackends
import KeyturnCore
import KeyturnSystem
import Synchronization
import TestSupport
import Testing

@testable import KeyturnBackends

@Suite("Google Cloud Secret Manager")
struct GCPSecretManagerTests {
    private let folder: ScratchFolder
    private let service: FakeSecretManager
    private let target = BackendTarget(backend: "gcp", path: "team-key")
    private let name: SecretName
    private static let byAlias: Parameters = ["alias": .string("current")]

    init() throws {
        folder = try ScratchFolder()
        service = try FakeSecretManager()
        name = try SecretName("team/key")
    }

    private func backend(_ more: Parameters = [:]) throws -> any Backend { try service.backend(folder, more) }

    /// Somebody else writes, and where consumers read an alias moves that.
    private func overwrite(_ text: String, alias: String? = nil) {
        service.state.withLock { state in
            var secret = state.secrets["team-key"] ?? FakeSecretManager.Secret()
            secret.add(text)
            if let alias { secret.aliases[alias] = secret.versions.last.map { String($0.number) } }
            secret.etag += 1
            state.secrets["team-key"] = secret
        }
    }

    @Test(arguments: BackendContract.checks, [nil, "current"])
    func keepsTheContract(check: ContractCheck<BackendSubject>, alias: String?) async throws {
        service.state.withLock { $0.pageSize = 2 }
        let subject = BackendSubject(
            try backend(alias == nil ? [:] : Self.byAlias), at: target,
            consumed: { [service] in service.consumed("team-key", alias: alias) },
            overwrite: { text in overwrite(text, alias: alias) })
        try await check.run(subject)
    }

    @Test(arguments: BackendContract.checks)
    func keepsTheContractWhereOldVersionsAreDisabled(check: ContractCheck<BackendSubject>) async throws {
        try await check.run(
            BackendSubject(
                try backend(["prune": .string("disable")]), at: target,
                consumed: { [service] in service.consumed("team-key") }, overwrite: { overwrite($0) }))
        let states = Set(service.secret("team-key")?.versions.map(\.state) ?? [])
        #expect(!states.contains("DESTROYED"))
    }

    private func write(
        _ version: Int, _ text: String, replacing old: (Int, String)? = nil, receipt: Receipt = [:],
        oldReceipt: Receipt = [:], mayOverwrite: Bool = false
    ) -> VersionWrite {
        VersionWrite(
            secret: name, version: version, value: SecretValue(utf8: text), receipt: receipt,
            replaces: old.map {
                VersionReference(secret: name, version: $0.0, receipt: oldReceipt, value: SecretValue(utf8: $0.1))
            }, instance: "instance", generation: 3, expiresAt: nil, mayOverwrite: mayOverwrite)
    }

    private func failure(_ body: () async throws -> Void) async -> SystemError? {
        do { try await body() } catch { return error as? SystemError }
        return nil
    }

    @Test func aSecretIsMadeAsTheConfigurationSays() async throws {
        _ = try await backend().promote(write(1, "one"), at: target)
        let first = try #require(service.secret("team-key"))
        #expect(first.replication == #"{"automatic":{}}"# && first.labels == ["managed-by": "keyturn"])
        #expect(first.annotations == ["keyturn-version-1": "team/key 1 3 instance"])
        let replicated = try backend([
            "locations": .list([.string("europe-north1"), .string("europe-west1")]),
            "labels": .map(["team": .string("payments")]),
        ])
        _ = try await replicated.promote(write(1, "one"), at: BackendTarget(backend: "gcp", path: "other"))
        let second = try #require(service.secret("other"))
        #expect(
            second.replication
                == #"{"userManaged":{"replicas":[{"location":"europe-north1"},{"location":"europe-west1"}]}}"#)
        #expect(second.labels == ["managed-by": "keyturn", "team": "payments"])
        #expect(service.tokens.logins.count == 2, "a token is kept")
    }

    @Test func secretsOfOneRegionHaveAnAddressOfTheirOwn() async throws {
        let backend = try backend(["location": .string("europe-west3")])
        _ = await failure { _ = try await backend.promote(write(1, "one"), at: target) }
        let made = try #require(service.requests.first { $0.method == "POST" && $0.target.contains("secretId") })
        #expect(made.target == "/v1/projects/acme-project/locations/europe-west3/secrets?secretId=team-key")
        #expect(String(decoding: made.body, as: UTF8.self).contains("replication") == false)
    }

    @Test func oneSecretIsChangedTwiceInASecondAndAnotherMeanwhile() async throws {
        let backend = try backend(["changesPerSecond": .integer(2)])
        let start = ContinuousClock.now
        let first = try await backend.promote(write(1, "one"), at: target)
        _ = try await backend.promote(write(1, "one"), at: BackendTarget(backend: "gcp", path: "other"))
        _ = try await backend.promote(write(2, "two", replacing: (1, "one"), oldReceipt: first), at: target)
        #expect(ContinuousClock.now - start >= .seconds(1), "Google would refuse the third change of the second")
    }

    @Test func theMarkNamesTheGeneration() async throws {
        let backend = try backend()
        _ = try await backend.promote(write(1, "one"), at: target)
        #expect(
            try await backend.mark(of: name, instance: "instance", at: target)
                == WriteMark(instance: "instance", generation: 3, version: 1))
        #expect(try await backend.mark(of: try SecretName("other"), instance: "instance", at: target) == nil)
    }

    @Test func whatOthersNotedAtTheSecretStays() async throws {
        service.state.withLock { state in
            var secret = FakeSecretManager.Secret()
            secret.annotations = ["owner": "payments", "keyturn-version-x": "?", "keyturn-version-9": "no mark"]
            secret.aliases = ["canary": "7"]
            state.secrets["team-key"] = secret
        }
        let backend = try backend(Self.byAlias)
        _ = try await backend.stage(write(1, "one"), at: target)
        #expect(service.secret("team-key")?.annotations["keyturn-version-1"] == "team/key 1 3 instance pending")
        let receipt = try await backend.promote(write(1, "one"), at: target)
        let secret = try #require(service.secret("team-key"))
        #expect(secret.aliases == ["canary": "7", "current": "1"])
        #expect(secret.annotations["owner"] == "payments" && secret.annotations["keyturn-version-x"] == "?")
        #expect(secret.annotations["keyturn-version-1"] == "team/key 1 3 instance")
        #expect(receipt == ["versionId": "1"])
    }

    @Test func aStagedVersionIsSeenByNobodyWhoReadsTheAlias() async throws {
        let backend = try backend(Self.byAlias)
        _ = try await backend.promote(write(1, "one"), at: target)
        _ = try await backend.stage(write(2, "two", replacing: (1, "one")), at: target)
        #expect(service.consumed("team-key", alias: "current") == "one")
        let listed = try await backend.list(at: target)
        #expect(listed.map(\.isPending) == [false, true] && listed.map(\.isCurrent) == [true, false])
    }

    @Test(arguments: [nil, "current"])
    func aVersionWhoseAnswerWasLostIsNotWrittenTwice(alias: String?) async throws {
        let backend = try backend(alias == nil ? [:] : Self.byAlias)
        let first = try await backend.promote(write(1, "one"), at: target)
        for word in [":addVersion", "updateMask"] {
            service.state.withLock { $0.losesAnswer = word }
            let second = write(2, "two", replacing: (1, "one"), oldReceipt: first)
            let error = await failure { _ = try await backend.promote(second, at: target) }
            // What may be repeated is, below us: the second PATCH is refused, and the secret looked at again.
            if word == ":addVersion" { #expect(error?.mayHaveTakenEffect == true && error?.disposition == .passing) }
            #expect(try await backend.promote(second, at: target) == ["versionId": "2"])
            #expect(service.secret("team-key")?.versions.count == 2, "\(word)")
            #expect(service.secret("team-key")?.annotations["keyturn-version-2"] == "team/key 2 3 instance")
            #expect(service.consumed("team-key", alias: alias) == "two")
            service.state.withLock { state in
                state.secrets["team-key"]?.versions.removeLast()
                state.secrets["team-key"]?.annotations["keyturn-version-2"] = nil
                if let alias { state.secrets["team-key"]?.aliases[alias] = "1" }
            }
        }
        #expect(service.requests.count { $0.target.hasSuffix(":addVersion") } == 3, "none is sent twice")
    }

    @Test func aStagedVersionWhoseAnswerWasLostIsTakenAway() async throws {
        let backend = try backend(Self.byAlias)
        _ = try await backend.promote(write(1, "one"), at: target)
        overwrite("by hand")
        service.state.withLock { $0.losesAnswer = ":addVersion" }
        _ = await failure { _ = try await backend.stage(write(2, "two", replacing: (1, "one")), at: target) }
        try await backend.unstage(
            VersionReference(secret: name, version: 2, receipt: [:], value: SecretValue(utf8: "two")), at: target)
        #expect(service.secret("team-key")?.versions.map(\.state) == ["ENABLED", "ENABLED", "DESTROYED"])
    }

    @Test func listsThatAreLateHideNothingFromThePromote() async throws {
        let backend = try backend()
        let first = try await backend.promote(write(1, "one"), at: target)
        let second = try await backend.promote(write(2, "two", replacing: (1, "one"), oldReceipt: first), at: target)
        service.state.withLock { $0.known = 2 }
        let third = try await backend.promote(write(3, "three", replacing: (2, "two"), oldReceipt: second), at: target)
        #expect(third == ["versionId": "3"])
        #expect(try await backend.mark(of: name, instance: "instance", at: target)?.version == 3)
        #expect(try await backend.list(at: target).map(\.isCurrent) == [false, false, true])
        try await backend.prune(VersionReference(secret: name, version: 2, receipt: second, value: nil), at: target)
        #expect(service.secret("team-key")?.versions.map(\.state) == ["ENABLED", "DESTROYED", "ENABLED"])
        // The read says what consumers get, however late that is.
        #expect(try await backend.read(.current, at: target)?.value.exposedText() == "one")
        service.state.withLock { $0.known = .max }
        #expect(try await backend.read(.current, at: target)?.value.exposedText() == "three")
    }

    @Test(arguments: [nil, "current"])
    func aVersionThatIsNotListedYetIsNotWrittenTwice(alias: String?) async throws {
        let backend = try backend(alias == nil ? [:] : Self.byAlias)
        let first = try await backend.promote(write(1, "one"), at: target)
        service.state.withLock { state in
            state.known = 2
            state.losesAnswer = ":addVersion"
        }
        let second = write(2, "two", replacing: (1, "one"), oldReceipt: first)
        _ = await failure { _ = try await backend.promote(second, at: target) }
        #expect(try await backend.promote(second, at: target) == ["versionId": "2"])
        #expect(service.secret("team-key")?.versions.count == 2)
    }

    @Test func aStrangerThatIsNotListedYetIsNotHidden() async throws {
        let backend = try backend()
        let first = try await backend.promote(write(1, "one"), at: target)
        overwrite("theirs")
        service.state.withLock { $0.known = 2 }
        let error = await failure {
            _ = try await backend.promote(write(2, "two", replacing: (1, "one"), oldReceipt: first), at: target)
        }
        #expect(error?.code == .conflict && service.consumed("team-key") == "theirs")
    }

    @Test func aStrangerBetweenLookAndWriteIsTold() async throws {
        let backend = try backend()
        _ = try await backend.promote(write(1, "one"), at: target)
        service.state.withLock { state in
            state.before = (":addVersion", { $0.secrets["team-key"]?.add("theirs") })
        }
        let error = await failure {
            _ = try await backend.promote(write(2, "two", replacing: (1, "one")), at: target)
        }
        #expect(error?.code == .conflict && error?.message.contains("version 2") == true)
        #expect(error.map { "\($0)".contains("theirs") } == false)
        // The second time it is ours.
        #expect(
            try await backend.promote(write(2, "two", replacing: (1, "one")), at: target) == ["versionId": "3"])
    }

    @Test func anAliasThatSomebodyMovedMeanwhileIsNotMovedBack() async throws {
        let backend = try backend(Self.byAlias)
        _ = try await backend.promote(write(1, "one"), at: target)
        service.state.withLock { state in
            state.before = (
                "updateMask",
                { state in
                    state.secrets["team-key"]?.add("theirs")
                    state.secrets["team-key"]?.aliases["current"] = "3"
                    state.secrets["team-key"]?.etag += 1
                }
            )
        }
        let error = await failure {
            _ = try await backend.promote(write(2, "two", replacing: (1, "one")), at: target)
        }
        #expect(error?.code == .conflict && error?.disposition == .permanent)
        #expect(service.consumed("team-key", alias: "current") == "theirs")
    }

    @Test func aSecretThatChangesMeanwhileIsLookedAtAgain() async throws {
        let backend = try backend(Self.byAlias)
        _ = try await backend.promote(write(1, "one"), at: target)
        service.state.withLock { state in
            state.before = (
                "updateMask",
                { state in
                    state.secrets["team-key"]?.annotations["note"] = "new"
                    state.secrets["team-key"]?.etag += 1
                }
            )
        }
        _ = try await backend.promote(write(2, "two", replacing: (1, "one")), at: target)
        #expect(service.consumed("team-key", alias: "current") == "two")
        #expect(service.secret("team-key")?.annotations["note"] == "new")
        #expect(service.secret("team-key")?.versions.count == 2)
    }

    @Test(arguments: [nil, "current"])
    func aCurrentVersionThatNobodyCanReadIsReplacedWhenItIsOurs(alias: String?) async throws {
        let backend = try backend(alias == nil ? [:] : Self.byAlias)
        let first = try await backend.promote(write(1, "one"), at: target)
        service.state.withLock { $0.secrets["team-key"]?.versions[0].state = "DISABLED" }
        #expect(try await backend.read(.current, at: target) == nil)
        _ = try await backend.promote(write(2, "two", replacing: (1, "one"), oldReceipt: first), at: target)
        #expect(service.consumed("team-key", alias: alias) == "two")
        overwrite("theirs", alias: alias)
        service.state.withLock { $0.secrets["team-key"]?.versions[2].state = "DESTROYED" }
        let error = await failure {
            _ = try await backend.promote(write(3, "three", replacing: (2, "two")), at: target)
        }
        #expect(error?.code == .conflict && error?.message.contains("version 3") == true)
    }

    @Test func theNewestIsNeverDestroyedAndAVersionThatChangesIsLookedAtAgain() async throws {
        let backend = try backend()
        let first = try await backend.promote(write(1, "one"), at: target)
        try await backend.prune(VersionReference(secret: name, version: 1, receipt: first, value: nil), at: target)
        #expect(service.consumed("team-key") == "one")
        _ = try await backend.promote(write(2, "two", replacing: (1, "one")), at: target)
        service.state.withLock { state in
            state.before = (
                ":destroy",
                { state in
                    state.secrets["team-key"]?.versions[0].state = "DISABLED"
                    state.secrets["team-key"]?.versions[0].etag += 1
                }
            )
        }
        try await backend.prune(VersionReference(secret: name, version: 1, receipt: first, value: nil), at: target)
        #expect(service.secret("team-key")?.versions.map(\.state) == ["DESTROYED", "ENABLED"])
        #expect(service.secret("team-key")?.annotations == ["keyturn-version-2": "team/key 2 3 instance"])
    }

    @Test func aReceiptThatNamesTheVersionOfAnotherPrunesNothing() async throws {
        let backend = try backend()
        overwrite("theirs")
        overwrite("theirs too")
        try await backend.prune(
            VersionReference(secret: name, version: 1, receipt: ["versionId": "1"], value: nil), at: target)
        #expect(service.secret("team-key")?.versions.map(\.state) == ["ENABLED", "ENABLED"])
    }

    @Test func aValueThatWasDamagedOnItsWayIsNotBelieved() async throws {
        let backend = try backend()
        _ = try await backend.promote(write(1, "one"), at: target)
        service.state.withLock { $0.damagesValues = true }
        let error = await failure { _ = try await backend.read(.current, at: target) }
        #expect(error?.code == .badAnswer && error?.message.contains("checksum") == true)
    }

    @Test func valuesAreNotLongerThanTheServiceTakes() async throws {
        let backend = try backend()
        let error = await failure {
            _ = try await backend.promote(write(1, String(repeating: "x", count: 65_537)), at: target)
        }
        #expect(error?.code == .misconfigured && service.secret("team-key") == nil)
        _ = try await backend.promote(write(1, String(repeating: "x", count: 65_536)), at: target)
        #expect(service.consumed("team-key")?.count == 65_536)
    }

    @Test func annotationsThatAreFullAreTold() async throws {
        let backend = try backend()
        _ = try await backend.promote(write(1, "one"), at: target)
        service.state.withLock { state in
            state.secrets["team-key"]?.annotations["long"] = String(repeating: "x", count: 16_320)
        }
        let error = await failure {
            _ = try await backend.promote(write(2, "two", replacing: (1, "one")), at: target)
        }
        #expect(error?.code == .limitExceeded)
    }

    @Test func rightsThatAreMissingAreNamed() async throws {
        let backend = try backend()
        try await backend.probe(target)
        _ = try await backend.promote(write(1, "one"), at: target)
        try await backend.probe(target)
        service.state.withLock { $0.permissions = ["secretmanager.secrets.get", "secretmanager.versions.list"] }
        let error = await failure { try await backend.probe(target) }
        #expect(error?.code == .forbidden && error?.message.contains("secretmanager.versions.add") == true)
        #expect(error?.message.contains("secretmanager.versions.list") == false)
    }

    @Test(arguments: [
        (403, "PERMISSION_DENIED", "", SystemError.Code.forbidden, SystemError.Disposition.permanent),
        (403, "PERMISSION_DENIED", "SERVICE_DISABLED", .misconfigured, .permanent),
        (400, "INVALID_ARGUMENT", "", .badRequest, .permanent), (409, "ABORTED", "", .conflict, .passing),
        (429, "RESOURCE_EXHAUSTED", "", .rateLimited, .passing), (503, "UNAVAILABLE", "", .unavailable, .passing),
        (500, "CANARY", "", .unavailable, .passing), (302, "", "", .badAnswer, .permanent),
        (200, "", "", .badAnswer, .passing),
    ])
    func refusalsAreToldApart(
        status: Int, word: String, reason: String, code: SystemError.Code, disposition: SystemError.Disposition
    ) async throws {
        let backend = try backend()
        _ = try await backend.promote(write(1, "one"), at: target)
        let answer: @Sendable (TestServer.Received, TestServer.Channel) -> TestServer.Afterwards? = { _, channel in
            channel.answer(status, FakeSecretManager.error(word, reason: reason))
            return .keep
        }
        service.state.withLock { $0.next = answer }
        let error = try #require(await failure { _ = try await backend.read(.current, at: target) })
        #expect(error.code == code && error.disposition == disposition)
        #expect(!"\(error)".contains("CANARY"))
    }

    @Test func aTokenThatIsRefusedIsReplacedOnce() async throws {
        let backend = try backend()
        try await backend.probe(target)
        service.tokens.forgetTokens()
        try await backend.probe(target)
        #expect(service.tokens.logins.count == 2)
        service.tokens.dismiss(service.tokens.own.id)
        service.tokens.forgetTokens()
        let error = await failure { try await backend.probe(target) }
        #expect(error?.code == .unauthorized && error?.message.contains(FakeGoogleTokens.email) == true)
    }

    @Test func theChecksumIsCastagnolis() {
        // RFC 3720, appendix B.4, and the check value of the catalogue of CRC algorithms.
        #expect(CRC32C.checksum([UInt8](repeating: 0, count: 32)) == 0x8A91_36AA)
        #expect(CRC32C.checksum([UInt8](repeating: 0xFF, count: 32)) == 0x62A8_AB43)
        #expect(CRC32C.checksum((0..<32).map { UInt8($0) }) == 0x46DD_794E)
        #expect(CRC32C.checksum("123456789".utf8) == 0xE306_9283)
        #expect(CRC32C.checksum([UInt8]()) == 0)
    }

    @Test func marksAreReadAsTheyAreWritten() {
        let mark = SecretManagerMark("payments/key 12 3 i-1 pending")
        #expect(mark?.version == 12 && mark?.isPending == true && mark?.text == "payments/key 12 3 i-1 pending")
        for text in ["", "a", "a b c d", "a 0 1 i", "a 1 1 ", "a 1 1 i other", "a 1 1 i pending x"] {
            #expect(SecretManagerMark(text) == nil, "\(text)")
        }
        let odd = ["keyturn-version-01": "a 1 1 i", "keyturn-version-": "a 1 1 i", "keyturn-version-2": "a 1 1 i"]
        #expect(SecretManagerMark.all(odd).keys.sorted() == [2])
    }

    @Test func whatIsWrongIsFoundBeforehand() throws {
        let description = try #require(BackendRegistry.descriptions.first { $0.type == "gcp-secret-manager" })
        func paths(_ parameters: Parameters) -> [[String]] {
            description.configuration.check(parameters, [:]).map(\.path)
        }
        for alias in ["latest", "NEW", "1st", "-x", "a b", "", String(repeating: "a", count: 64)] {
            #expect(paths(["alias": .string(alias)]) == [["alias"]], "\(alias)")
        }
        #expect(paths(["alias": .string("current_2-b"), "project": .string("example.com:acme-1")]).isEmpty)
        #expect(paths(["location": .string("europe-west3"), "locations": .list([])]) == [["locations"]])
        #expect(paths(["location": .string("evil.example/")]) == [["location"]])
        #expect(description.checkPath("team-key_2") == nil)
        #expect(description.checkPath("team/key")?.contains("'team-key'") == true)
        #expect(description.checkPath(String(repeating: "a", count: 256)) != nil)
    }
}
