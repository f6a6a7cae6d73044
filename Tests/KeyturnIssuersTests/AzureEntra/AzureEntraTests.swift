import Foundation
import KeyturnCore
import KeyturnIssuers
import Synchronization
import TestSupport
import Testing

@Suite("Passwords of applications in Entra ID")
struct AzureEntraTests {
    private let folder: ScratchFolder
    private let graph: FakeGraph
    private let time = ManualTimekeeper(startingAt: Date(timeIntervalSince1970: 1_800_000_000))
    private let parameters: Parameters = ["clientId": .string(FakeGraph.application)]

    init() throws {
        folder = try ScratchFolder()
        graph = try FakeGraph()
    }

    private func issuer(_ more: Parameters = [:]) throws -> any Issuer {
        let type = try #require(IssuerRegistry.all.first { $0.description.type == "azure-entra-password" })
        let own: Parameters = [
            "graph": .string(graph.address),
            "auth": .map([
                "clientSecret": .map([
                    "tenantId": .string(FakeEntra.tenant), "clientId": .string(FakeEntra.clientID),
                    "secret": .secret(.environment("S")),
                ]), "authorityHost": .string(graph.address),
            ]),
        ]
        return try type.make(
            "apps", own.merging(more) { $1 }, try .forTests(folder, environment: ["S": FakeEntra.secret], time: time))
    }

    private func request(lifetime: Int64? = 86_400, nonce: Character = "a", waited: Double = 0) throws
        -> IssueRequest
    {
        IssueRequest(
            lineage: Lineage(
                secret: try SecretName("team/key"), version: 1, nonce: String(repeating: nonce, count: 32)),
            parameters: parameters, lifetime: lifetime, intendedAt: time.now(), waited: waited,
            knownKeyIDs: [])
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

    @Test(arguments: IssuerContract.checks)
    func keepsTheContract(check: ContractCheck<IssuerSubject>) async throws {
        try await check.run(IssuerSubject(try issuer(), parameters: parameters))
    }

    @Test func aPasswordCarriesItsLineageAndItsEnd() async throws {
        let issuer = try issuer()
        let request = try request()
        let key = try await issuer.issue(request, prepared: try await issuer.prepare(request))
        let made = try #require(graph.state.withLock { $0.passwords[key.keyID ?? ""] })
        #expect(made.displayName == request.lineage.description && made.end == "2027-01-16T08:00:00Z")
        #expect(key.material.value.exposedText() == made.text)
        #expect(key.material.fields["clientId"]?.exposedText() == FakeGraph.application)
        #expect(key.expiresAt == Date(timeIntervalSince1970: 1_800_086_400))
        // One without an end gets a distant one: the service's own would be two years.
        _ = try await issuer.issue(try self.request(lifetime: nil, nonce: "b"), prepared: IssuePreparation())
        #expect(graph.state.withLock { $0.passwords.values.contains { $0.end.hasPrefix("2126-") } })
    }

    @Test func aLostAnswerIsResolvedByTheMarkOnceItShows() async throws {
        let issuer = try issuer(["listingDelay": .integer(60)])
        let request = try request()
        graph.state.withLock { $0.losesAnswers = true }
        let lost = await failure { _ = try await issuer.issue(request, prepared: IssuePreparation()) }
        #expect(lost?.mayHaveTakenEffect == true)
        #expect(graph.requests.count { $0.target.hasSuffix("/addPassword") } == 1, "it is never asked for twice")
        let id = try #require(graph.state.withLock { $0.passwords.keys.first })
        graph.state.withLock { state in
            state.losesAnswers = false
            state.hidden = [id]
        }
        guard case .undecided = try await issuer.resolve(request, prepared: IssuePreparation()) else {
            Issue.record("a password that does not show yet is given up")
            return
        }
        // Not before it is known to the copy that is asked, either, can it be removed.
        let orphan = KeyHandle(
            secret: request.lineage.secret, version: 1, keyID: id, material: nil, parameters: parameters)
        graph.state.withLock { $0.hidden = [] }
        guard case .orphaned(let ids) = try await issuer.resolve(request, prepared: IssuePreparation()) else {
            Issue.record("a password with our mark is not found")
            return
        }
        #expect(ids == [id])
        try await issuer.revoke(orphan)
        #expect(graph.state.withLock { $0.passwords.isEmpty })
        // The wall clock alone proves nothing.
        time.set(request.intendedAt.addingTimeInterval(61))
        guard case .undecided = try await issuer.resolve(request, prepared: IssuePreparation()) else {
            Issue.record("a clock that leapt is taken for time that passed")
            return
        }
        let later = try self.request(waited: 61)
        guard case .neverMade = try await issuer.resolve(later, prepared: IssuePreparation()) else {
            Issue.record("what does not show for long was never made")
            return
        }
    }

    @Test func aPasswordThatIsListedAndNotRemovableYetIsTriedAgain() async throws {
        let issuer = try issuer()
        let request = try request()
        let key = try await issuer.issue(request, prepared: IssuePreparation())
        graph.state.withLock { $0.refusal = (400, #"{"error":{"code":"Request_BadRequest"}}"#) }
        let refused = await failure { try await issuer.revoke(try handle(key)) }
        #expect(refused != nil, "a refusal is not taken for a password that is gone")
        graph.state.withLock { $0.refusal = nil }
        try await issuer.revoke(try handle(key))
        try await issuer.revoke(try handle(key))
        #expect(graph.state.withLock { $0.passwords.isEmpty })
    }

    @Test func aNewPasswordIsTriedUntilItIsKnown() async throws {
        let issuer = try issuer()
        let key = try await issuer.issue(try request(), prepared: IssuePreparation())
        graph.state.withLock { $0.hidden = [key.keyID ?? ""] }
        guard case .notYet(let words) = try await issuer.check(try handle(key)) else {
            Issue.record("a password that is not known yet is no dead one")
            return
        }
        #expect(words.contains("AADSTS7000215") && !words.contains("CANARY"))
        graph.state.withLock { $0.hidden = [] }
        #expect(try await issuer.check(try handle(key)) == .works)
    }

    @Test(arguments: [
        (403, "Authorization_RequestDenied", SystemError.Code.forbidden, SystemError.Disposition.permanent),
        (404, "Request_ResourceNotFound", .notFound, .permanent),
        (400, "CredentialInvalidLifetimeAsPerAppPolicy", .badRequest, .permanent),
        (400, "CredentialTypeNotAllowedAsPerAppPolicy", .forbidden, .permanent),
        (403, "Directory_QuotaExceeded", .limitExceeded, .permanent), (409, "x", .conflict, .passing),
        (400, "Directory_ConcurrencyViolation", .conflict, .passing), (429, "TooManyRequests", .rateLimited, .passing),
        (401, "InvalidAuthenticationToken", .unauthorized, .permanent), (503, "x", .unavailable, .passing),
    ])
    func refusalsAreToldApart(
        status: Int, word: String, code: SystemError.Code, disposition: SystemError.Disposition
    ) async throws {
        let issuer = try issuer()
        graph.state.withLock { $0.refusal = (status, #"{"error":{"code":"\#(word)","message":"CANARY"}}"#) }
        let error = try #require(await failure { _ = try await issuer.issue(try request(), prepared: .init()) })
        #expect(error.code == code && error.disposition == disposition)
        #expect(!"\(error)".contains("CANARY"))
        #expect(error.mayHaveTakenEffect == (status == 503))
    }

    @Test(arguments: ["", "{}", "<html>", #"{"keyId":"k"}"#, #"{"keyId":"","secretText":"CANARY"}"#])
    func anAnswerWithoutAPasswordHasAnUnknownOutcome(body: String) async throws {
        let issuer = try issuer()
        graph.state.withLock { $0.refusal = (200, body) }
        let error = await failure { _ = try await issuer.issue(try request(), prepared: .init()) }
        #expect(error?.code == .badAnswer && error?.mayHaveTakenEffect == true)
        let listing = await failure { _ = try await issuer.prepare(try request()) }
        #expect(listing?.code == .badAnswer)
    }

    @Test func whatIsWrongIsFoundBeforehand() throws {
        let description = try #require(IssuerRegistry.descriptions.first { $0.type == "azure-entra-password" })
        #expect(description.check([:], ["clientId": .string("my app")], 1).map(\.path) == [["clientId"]])
        #expect(description.check([:], parameters, 1).isEmpty)
        #expect(description.configuration.check([:], [:]).map(\.isWarning) == [true])
        #expect(description.configuration.check(["tenantId": .string("t")], [:]).isEmpty)
    }
}
