import Foundation
import KeyturnCore
import KeyturnIssuers
import Synchronization
import TestSupport
import Testing

@Suite("Keys of Azure storage accounts")
struct AzureStorageTests {
    private let folder: ScratchFolder
    private let storage: FakeStorage

    init() throws {
        folder = try ScratchFolder()
        storage = try FakeStorage()
    }

    private func parameters(first: String? = "key2") -> Parameters {
        var parameters: Parameters = [
            "subscription": .string(FakeStorage.subscription), "resourceGroup": .string("payments (eu)"),
            "account": .string(FakeStorage.account), "blobEndpoint": .string(storage.address),
        ]
        if let first { parameters["firstKey"] = .string(first) }
        return parameters
    }

    private func issuer() throws -> any Issuer {
        let type = try #require(IssuerRegistry.all.first { $0.description.type == "azure-storage-key" })
        let own: Parameters = [
            "management": .string(storage.address),
            "auth": .map([
                "clientSecret": .map([
                    "tenantId": .string(FakeEntra.tenant), "clientId": .string(FakeEntra.clientID),
                    "secret": .secret(.environment("S")),
                ]), "authorityHost": .string(storage.address),
            ]),
        ]
        return try type.make("storage", own, try .forTests(folder, environment: ["S": FakeEntra.secret]))
    }

    private var slots: [String: String] { storage.state.withLock { $0.keys } }

    private func request(_ version: Int, current: KeyHandle? = nil, first: String? = "key2") throws -> IssueRequest {
        IssueRequest(
            lineage: Lineage(
                secret: try SecretName("team/key"), version: version, nonce: String(repeating: "a", count: 32)),
            parameters: parameters(first: first), lifetime: 86_400,
            intendedAt: Date(timeIntervalSince1970: 1_800_000_000), knownKeyIDs: [], current: current)
    }

    private func handle(_ text: String?, id: String? = nil, version: Int = 1) throws -> KeyHandle {
        KeyHandle(
            secret: try SecretName("team/key"), version: version, keyID: id,
            material: text.map { KeyMaterial(value: SecretValue(utf8: $0)) }, parameters: parameters())
    }

    private func handle(_ key: IssuedKey, _ version: Int) throws -> KeyHandle {
        try handle(key.material.value.exposedText(), id: key.keyID, version: version)
    }

    private func failure(_ body: () async throws -> Void) async -> SystemError? {
        do { try await body() } catch { return error as? SystemError }
        return nil
    }

    @Test(arguments: IssuerContract.checks)
    func keepsTheContract(check: ContractCheck<IssuerSubject>) async throws {
        try await check.run(IssuerSubject(try issuer(), parameters: parameters()))
    }

    @Test func theSlotsAlternate() async throws {
        let issuer = try issuer()
        let before = slots
        let first = try request(1)
        let one = try await issuer.issue(first, prepared: try await issuer.prepare(first))
        #expect(one.material.value.exposedText() == slots["key2"] && slots["key1"] == before["key1"])
        #expect(one.keyID?.hasPrefix("key2@2027-01-15T08:00:00.") == true)
        #expect(one.material.fields["accountName"]?.exposedText() == FakeStorage.account)
        let second = try request(2, current: try handle(one, 1))
        let two = try await issuer.issue(second, prepared: try await issuer.prepare(second))
        #expect(two.material.value.exposedText() == slots["key1"])
        #expect(slots["key2"] == one.material.value.exposedText(), "the key in use is left alone")
        #expect(try await issuer.check(try handle(one, 1)) == .works)
        #expect(try await issuer.check(try handle(two, 2)) == .works)
        // The old one ends when its slot is overwritten.
        try await issuer.revoke(try handle(one, 1))
        #expect(slots["key2"] != one.material.value.exposedText())
        let after = slots
        try await issuer.revoke(try handle(one, 1))
        #expect(slots == after, "what is in the slot by now is another key")
        let third = try request(3, current: try handle(two, 2))
        let three = try await issuer.issue(third, prepared: try await issuer.prepare(third))
        #expect(three.material.value.exposedText() == slots["key2"])
        #expect(slots["key1"] == two.material.value.exposedText())
    }

    @Test func withoutAKeyInUseThePolicyMustNameTheIdleOne() async throws {
        let issuer = try issuer()
        let before = slots
        let error = await failure { _ = try await issuer.prepare(try request(1, first: nil)) }
        #expect(error?.code == .misconfigured && error?.advice.contains("adopt") == true)
        // One that was taken over has no id, and is known by its value.
        let adopted = try request(2, current: try handle(before["key1"]), first: nil)
        #expect(try await issuer.prepare(adopted).notes == ["slot": "key2"])
        #expect(slots == before)
    }

    @Test func theKeyInUseIsNeverOverwritten() async throws {
        let issuer = try issuer()
        let before = slots
        let stranger = try request(2, current: try handle("c29tZWJvZHkgZWxzZQ=="))
        let changed = await failure { _ = try await issuer.prepare(stranger) }
        #expect(changed?.code == .conflict)
        // A preparation that is not true any more, as after a rollback.
        let rolled = try request(2, current: try handle(before["key2"]))
        let inUse = await failure {
            _ = try await issuer.issue(rolled, prepared: IssuePreparation(notes: ["slot": "key2"]))
        }
        #expect(inUse?.code == .conflict)
        let unopened = await failure { _ = try await issuer.prepare(try request(2, current: try handle(nil))) }
        #expect(unopened?.code == .local)
        for notes in [[:], ["slot": "kerb1"]] {
            let none = await failure {
                _ = try await issuer.issue(try request(1), prepared: IssuePreparation(notes: notes))
            }
            #expect(none?.code == .local)
        }
        #expect(slots == before)
    }

    @Test func aLostAnswerIsHealedByOverwritingTheSameSlotAgain() async throws {
        let issuer = try issuer()
        let before = slots
        let request = try request(2, current: try handle(before["key1"]))
        let prepared = try await issuer.prepare(request)
        storage.state.withLock { $0.losesAnswers = true }
        let lost = await failure { _ = try await issuer.issue(request, prepared: prepared) }
        #expect(lost?.mayHaveTakenEffect == true)
        storage.state.withLock { $0.losesAnswers = false }
        let key = try await issuer.issue(request, prepared: prepared)
        #expect(key.material.value.exposedText() == slots["key2"] && slots["key1"] == before["key1"])
    }

    @Test func aKeyWithoutItsTextIsKnownByWhenItWasMade() async throws {
        let issuer = try issuer()
        let key = try await issuer.issue(try request(1), prepared: IssuePreparation(notes: ["slot": "key2"]))
        let before = slots
        try await issuer.revoke(try handle(nil, id: "key2@2001-01-01T00:00:00Z"))
        #expect(slots == before)
        let unknown = await failure { try await issuer.revoke(try handle(nil, id: "key2")) }
        #expect(unknown?.code == .local && slots == before)
        try await issuer.revoke(try handle(nil, id: key.keyID))
        #expect(slots["key2"] != before["key2"] && slots["key1"] == before["key1"])
    }

    @Test func whatTheBlobServiceSays() async throws {
        let issuer = try issuer()
        let key = try handle(slots["key1"])
        #expect(try await issuer.check(key) == .works)
        guard case .refused = try await issuer.check(try handle("not base64!")) else {
            Issue.record("a text that is no key is tried")
            return
        }
        guard case .notYet = try await issuer.check(try handle("c29tZWJvZHkgZWxzZQ==")) else {
            Issue.record("an unknown key works")
            return
        }
        for (code, status, expected) in [
            ("KeyBasedAuthenticationNotPermitted", 403, SystemError.Code.forbidden),
            ("AuthorizationFailure", 403, .forbidden), ("x", 403, .forbidden), ("ServerBusy", 503, .unavailable),
            ("ResourceNotFound", 404, .notFound),
        ] {
            storage.state.withLock { $0.blobRefusal = (status, code) }
            let error = await failure { _ = try await issuer.check(key) }
            #expect(error?.code == expected && error.map { "\($0)".contains("CANARY") } == false)
        }
    }

    @Test(arguments: [
        (403, "AuthorizationFailed", SystemError.Code.forbidden, SystemError.Disposition.permanent),
        (404, "ResourceNotFound", .notFound, .permanent), (404, "SubscriptionNotFound", .notFound, .permanent),
        (409, "ScopeLocked", .conflict, .permanent), (409, "StorageAccountOperationInProgress", .conflict, .passing),
        (429, "TooManyRequests", .rateLimited, .passing), (500, "InternalServerError", .unavailable, .passing),
        (401, "InvalidAuthenticationTokenTenant", .unauthorized, .permanent), (200, "", .badAnswer, .passing),
    ])
    func refusalsAreToldApart(
        status: Int, word: String, code: SystemError.Code, disposition: SystemError.Disposition
    ) async throws {
        let issuer = try issuer()
        storage.state.withLock { $0.refusal = (status, #"{"error":{"code":"\#(word)","message":"CANARY"}}"#) }
        let error = try #require(
            await failure { _ = try await issuer.issue(try request(1), prepared: .init(notes: ["slot": "key2"])) })
        #expect(error.code == code && error.disposition == disposition)
        #expect(!"\(error)".contains("CANARY"))
        #expect(error.mayHaveTakenEffect == (status == 500 || status == 200))
    }

    @Test func whatIsWrongIsFoundBeforehand() throws {
        let description = try #require(IssuerRegistry.descriptions.first { $0.type == "azure-storage-key" })
        let wrong: Parameters = ["account": .string("Payments"), "subscription": .string("mine")]
        #expect(description.check([:], wrong, 1).map(\.path) == [["account"], ["subscription"]])
        #expect(description.check([:], parameters(), 1).isEmpty)
        #expect(description.traits.keyLimit == 2, "the grace must be shorter than the time between rotations")
    }
}
