import Foundation
import KeyturnCore
import KeyturnIssuers
import Synchronization
import TestSupport
import Testing

@Suite("Keys of Google Cloud service accounts")
struct GCPServiceAccountKeyTests {
    private let folder: ScratchFolder
    private let iam: FakeIAM
    private let time = ManualTimekeeper(startingAt: Date(timeIntervalSince1970: 1_800_000_000))
    private let parameters: Parameters = ["account": .string(FakeIAM.account)]

    init() throws {
        folder = try ScratchFolder()
        iam = try FakeIAM()
    }

    private func issuer(_ more: Parameters = [:]) throws -> any Issuer { try iam.issuer(folder, more, time: time) }

    private func request(lifetime: Int64? = 86_400, waited: Double = 0, known: [String] = []) throws -> IssueRequest {
        IssueRequest(
            lineage: Lineage(secret: try SecretName("team/key"), version: 1, nonce: String(repeating: "a", count: 32)),
            parameters: parameters, lifetime: lifetime, intendedAt: Date(timeIntervalSince1970: 1_800_000_000),
            waited: waited, knownKeyIDs: known)
    }

    private func handle(_ key: IssuedKey) throws -> KeyHandle {
        KeyHandle(
            secret: try SecretName("team/key"), version: 1, keyID: key.keyID, material: key.material,
            parameters: parameters)
    }

    private func failure(_ body: () async throws -> Void) async -> SystemError? {
        do { try await body() } catch { return error as? SystemError }
        return nil
    }

    /// Keys of an account carry no lineage: two that came at once are told apart by nobody, which a test below shows.
    private static let checks = IssuerContract.checks.filter { check in
        !check.name.contains("found by its lineage") && !check.name.contains("shows the lineage")
    }

    @Test(arguments: checks)
    func keepsTheContract(check: ContractCheck<IssuerSubject>) async throws {
        #expect(Self.checks.count == IssuerContract.checks.count - 2)
        try await check.run(IssuerSubject(try issuer(), parameters: parameters))
    }

    @Test func theValueIsTheKeyFile() async throws {
        let issuer = try issuer()
        let key = try await issuer.issue(try request(), prepared: try await issuer.prepare(try request()))
        let made = try #require(iam.state.withLock { $0.keys.first?.key })
        #expect(key.keyID == made.id && key.material.value.exposedText() == made.file)
        #expect(key.material.fields["clientEmail"]?.exposedText() == FakeIAM.account)
        #expect(key.material.fields["privateKeyId"]?.exposedText() == made.id)
        #expect(key.material.fields["privateKey"]?.exposedText()?.hasPrefix("-----BEGIN PRIVATE KEY-----") == true)
        #expect(key.issuedAt == Date(timeIntervalSince1970: 1_800_000_000))
        #expect(key.expiresAt == Date(timeIntervalSince1970: 1_800_086_400))
        // A policy of the organization that gives keys an end counts.
        iam.state.withLock { $0.validBefore = "2027-01-15T16:00:00Z" }
        let short = try await issuer.issue(try request(), prepared: .init())
        let endless = try await issuer.issue(try request(lifetime: nil), prepared: .init())
        #expect(short.expiresAt == Date(timeIntervalSince1970: 1_800_028_800) && endless.expiresAt == short.expiresAt)
    }

    @Test func aLostKeyIsTheOneThatWasNotThereBefore() async throws {
        let issuer = try issuer(["listingDelay": .integer(60)])
        let old = iam.add(validAfter: "2026-01-01T00:00:00Z")
        let request = try request()
        let prepared = try await issuer.prepare(request)
        #expect(prepared.notes == ["existing": old.id])
        iam.state.withLock { $0.losesAnswers = true }
        let lost = await failure { _ = try await issuer.issue(request, prepared: prepared) }
        #expect(lost?.mayHaveTakenEffect == true)
        #expect(iam.requests.count { $0.method == "POST" && $0.target.hasSuffix("/keys") } == 1, "asked for twice")
        let made = try #require(iam.state.withLock { $0.keys.last?.key.id })
        iam.state.withLock { state in
            state.losesAnswers = false
            state.hidden = [made]
        }
        guard case .undecided = try await issuer.resolve(request, prepared: prepared) else {
            Issue.record("a key that does not show yet is given up")
            return
        }
        guard case .neverMade = try await issuer.resolve(try self.request(waited: 60), prepared: prepared) else {
            Issue.record("it is waited for without an end")
            return
        }
        iam.state.withLock { $0.hidden = [] }
        guard case .orphaned(let ids) = try await issuer.resolve(request, prepared: prepared) else {
            Issue.record("the key is not found")
            return
        }
        #expect(ids == [made])
        guard
            case .neverMade = try await issuer.resolve(try self.request(waited: 60, known: [made]), prepared: prepared)
        else {
            Issue.record("a key that the journal knows is taken for a lost one")
            return
        }
    }

    @Test(arguments: [
        ["2027-01-15T08:00:00Z", "2027-01-15T08:00:01Z"], ["2027-01-15T07:54:00Z"], ["2027-01-15T08:06:00Z"], [""],
    ])
    func keysThatMayBeAnothersAreForAPersonToJudge(times: [String]) async throws {
        let issuer = try issuer()
        let prepared = try await issuer.prepare(try request())
        let ids = times.map { iam.add(validAfter: $0).id }
        guard case .ambiguous(let words) = try await issuer.resolve(try request(), prepared: prepared) else {
            Issue.record("another's key would be revoked")
            return
        }
        for id in ids { #expect(words.contains(id)) }
    }

    @Test func tenKeysAreTheMost() async throws {
        let issuer = try issuer()
        for _ in 0..<9 { iam.add() }
        _ = try await issuer.prepare(try request())
        let last = iam.add()
        let error = await failure { _ = try await issuer.prepare(try request(known: [last.id])) }
        #expect(error?.code == .limitExceeded && error?.message.contains("9 of them not Keyturn's") == true)
    }

    @Test func aNewKeyIsTriedUntilItIsKnown() async throws {
        let issuer = try issuer()
        let key = try await issuer.issue(try request(), prepared: .init())
        iam.state.withLock { $0.hidden = [key.keyID ?? ""] }
        guard case .notYet(let words) = try await issuer.check(try handle(key)) else {
            Issue.record("a key that is not known yet is no dead one")
            return
        }
        #expect(!words.contains("CANARY"))
        iam.state.withLock { $0.hidden = [] }
        #expect(try await issuer.check(try handle(key)) == .works)
        #expect(iam.tokens.logins.last == key.keyID, "the key itself logs in")
    }

    @Test func whyAKeyIsRefusedIsTold() async throws {
        let issuer = try issuer()
        let key = try await issuer.issue(try request(), prepared: .init())
        iam.state.withLock { state in
            state.keys[0].isDisabled = true
            state.keys[0].reason = "SERVICE_ACCOUNT_KEY_DISABLE_REASON_EXPOSED"
        }
        #expect(
            try await issuer.check(try handle(key)) == .refused("Google disabled the key, for it was found in public"))
        let bare = KeyHandle(
            secret: try SecretName("team/key"), version: 1, keyID: "x",
            material: KeyMaterial(value: SecretValue(utf8: "no file")), parameters: parameters)
        #expect(try await issuer.check(bare) == .cannotTell)
    }

    @Test func aKeyThatIsListedIsNotTakenForOneThatIsGone() async throws {
        let issuer = try issuer()
        let key = try await issuer.issue(try request(), prepared: .init())
        iam.state.withLock { $0.undeletable = [key.keyID ?? ""] }
        let error = await failure { try await issuer.revoke(try handle(key)) }
        #expect(error?.code == .notYet && error?.disposition == .passing)
        iam.state.withLock { $0.undeletable = [] }
        for _ in 1...2 { try await issuer.revoke(try handle(key)) }
        #expect(iam.state.withLock { $0.keys.isEmpty })
    }

    @Test func aDownloadedFileIsTakenOver() throws {
        let reader = try #require(try issuer() as? any ReadsDownloadedKeys)
        let made = iam.add()
        let key = try reader.read(SecretValue(utf8: made.file), now: time.now())
        #expect(key.keyID == made.id && key.material.value.exposedText() == made.file && key.expiresAt == nil)
        let error = #expect(throws: InvalidAdoptedKey.self) {
            try reader.read(SecretValue(utf8: "CANARY"), now: time.now())
        }
        #expect(error?.reason.contains("CANARY") == false)
    }

    @Test(arguments: [
        (403, "PERMISSION_DENIED", "", SystemError.Code.forbidden, SystemError.Disposition.permanent),
        (400, "FAILED_PRECONDITION", "", .limitExceeded, .permanent),
        (400, "FAILED_PRECONDITION", "constraints/iam.disableServiceAccountKeyCreation", .forbidden, .permanent),
        (400, "FAILED_PRECONDITION", "constraints/CANARY", .limitExceeded, .permanent),
        (404, "NOT_FOUND", "", .notFound, .permanent), (429, "RESOURCE_EXHAUSTED", "", .rateLimited, .passing),
        (409, "ABORTED", "", .conflict, .passing), (503, "UNAVAILABLE", "", .unavailable, .passing),
        (500, "INTERNAL", "", .unavailable, .passing),
    ])
    func refusalsAreToldApart(
        status: Int, word: String, constraint: String, code: SystemError.Code, disposition: SystemError.Disposition
    ) async throws {
        let issuer = try issuer()
        iam.state.withLock { $0.refusal = (status, FakeIAM.error(word, constraint: constraint)) }
        let error = try #require(await failure { _ = try await issuer.issue(try request(), prepared: .init()) })
        #expect(error.code == code && error.disposition == disposition)
        #expect(!"\(error)".contains("CANARY"))
        #expect(error.mayHaveTakenEffect == (status >= 500))
    }

    @Test(arguments: ["", "{}", "<html>", #"{"name":"a/b","privateKeyData":"Q0FOQVJZ"}"#])
    func anAnswerWithoutAKeyHasAnUnknownOutcome(body: String) async throws {
        let issuer = try issuer()
        iam.state.withLock { $0.refusal = (200, body) }
        let error = await failure { _ = try await issuer.issue(try request(), prepared: .init()) }
        #expect(error?.code == .badAnswer && error?.mayHaveTakenEffect == true)
    }

    @Test func whatIsWrongIsFoundBeforehand() throws {
        let description = try #require(IssuerRegistry.descriptions.first { $0.type == "gcp-service-account-key" })
        for account in ["payments", "a@b@c", "a/b@c", ""] {
            #expect(description.check([:], ["account": .string(account)], 1).map(\.path) == [["account"]], "\(account)")
        }
        #expect(description.check([:], parameters, 1).isEmpty)
    }
}
