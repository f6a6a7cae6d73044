import Foundation
import KeyturnCore
import KeyturnIssuers
import TestSupport
import Testing

@Suite("Momento's keys of the first generation", .serialized)
struct MomentoV1IssuerTests {
    private let folder: ScratchFolder
    private let peer: MomentoPeer
    private let time = ManualTimekeeper(startingAt: MomentoPeer.start)

    private static let parameters: Parameters = [
        "permissions": .list([.map(["cache": .string("payments"), "role": .string("readonly")])])
    ]

    init() throws {
        folder = try ScratchFolder()
        peer = try MomentoPeer()
    }

    private func issuer(_ more: Parameters = [:]) throws -> any Issuer {
        let type = try #require(IssuerRegistry.all.first { $0.description.type == "momento-v1" })
        let parameters: Parameters = [
            "apiKey": .secret(.environment("MOMENTO_V1")), "address": .string(peer.grpc),
            "cacheAddress": .string(peer.address),
        ]
        return try type.make(
            "momento", parameters.merging(more) { _, own in own },
            try .forTests(folder, environment: peer.environment, time: time))
    }

    private func request(
        _ parameters: Parameters? = nil, lifetime: Int64? = 86_400, after predecessor: IssuedKey? = nil
    ) throws -> IssueRequest {
        let parameters = parameters ?? Self.parameters
        return IssueRequest(
            lineage: Lineage(secret: try SecretName("team/key"), version: 3, nonce: String(repeating: "a", count: 32)),
            parameters: parameters, lifetime: lifetime, intendedAt: time.now(), knownKeyIDs: [],
            current: try predecessor.map { try handle($0, parameters) }, mayRenew: predecessor != nil)
    }

    private func handle(_ key: IssuedKey, _ parameters: Parameters? = nil) throws -> KeyHandle {
        KeyHandle(
            secret: try SecretName("team/key"), version: 1, keyID: key.keyID, material: key.material,
            parameters: parameters ?? Self.parameters)
    }

    private func issue(_ request: IssueRequest, _ issuer: (any Issuer)? = nil) async throws -> IssuedKey {
        let issuer = try issuer ?? self.issuer()
        return try await issuer.issue(request, prepared: try await issuer.prepare(request))
    }

    @Test(arguments: IssuerContract.checks)
    func theContractIsKept(check: ContractCheck<IssuerSubject>) async throws {
        try await check.run(IssuerSubject(try issuer(), parameters: Self.parameters))
    }

    @Test func aKeyIsHandedOnAsMomentosClientsExpectIt() async throws {
        let key = try await issue(try request())
        let text = try #require(key.material.value.exposedText())
        let parts = try JSONDecoder().decode([String: String].self, from: #require(Data(base64Encoded: text)))
        #expect(parts["endpoint"] == "cell-1-eu-west-1-1.prod.a.momentohq.com")
        #expect(parts["api_key"] == key.material.fields["apiKey"]?.exposedText())
        #expect(key.material.fields["endpoint"]?.exposedText() == parts["endpoint"])
        #expect(key.material.fields["refreshToken"] != nil)
        let state = try peer.tell()
        #expect(state.descriptions.last == "keyturn:team/key:3:" + String(repeating: "a", count: 32))
        let caller = try #require(MomentoKey(SecretValue(utf8: peer.environment["MOMENTO_V1"] ?? "")))
        #expect(state.authorization == [caller.bearer.exposedText()])
    }

    @Test func everyKindOfStatementArrives() async throws {
        func statement(_ members: Parameters) -> ParameterValue { .map(members) }
        let all: [ParameterValue] = [
            statement(["cache": .string("*"), "role": .string("readwrite")]),
            statement(["cache": .string("b"), "role": .string("writeonly"), "items": .map(["key": .string("k")])]),
            statement(["cache": .string("b"), "role": .string("readonly"), "items": .map(["prefix": .string("k")])]),
            statement(["cache": .string("a"), "role": .string("publishsubscribe"), "topic": .string("*")]),
            statement(["cache": .string("*"), "role": .string("subscribeonly"), "topic": .string("t")]),
            statement(["cache": .string("a"), "role": .string("publishonly"), "topic": .map(["prefix": .string("t")])]),
            statement(["cache": .string("*"), "role": .string("invoke"), "function": .string("*")]),
            statement(["cache": .string("a"), "role": .string("invoke"), "function": .map(["name": .string("f")])]),
            statement(["cache": .string("a"), "role": .string("invoke"), "function": .map(["prefix": .string("f")])]),
        ]
        let key = try await issue(try request(["permissions": .list(all)]))
        #expect(!key.material.value.isEmpty)
        // What the vendor's own classes read out of it.
        #expect(
            try peer.tell().permissions == [
                "cache=* role=1 items=*", "cache=b role=3 items=k", "cache=b role=2 items=k+", "cache=a role=1 topic=*",
                "cache=* role=2 topic=t", "cache=a role=3 topic=t+", "cache=* role=1 function=*",
                "cache=a role=1 function=f", "cache=a role=1 function=f+",
            ])
    }

    @Test func aKeyReadsNoMoreThanItsStatementsSay() async throws {
        let narrow: Parameters = [
            "permissions": .list([
                .map([
                    "cache": .string("payments"), "role": .string("readonly"), "items": .map(["prefix": .string("u:")]),
                ])
            ])
        ]
        let issuer = try issuer()
        let key = try await issue(try request(narrow), issuer)
        #expect(try await issuer.check(try handle(key, narrow)) == .works)
        let wide = narrow.merging(["check": .map(["cache": .string("payments"), "item": .string("x")])]) { own, _ in own
        }
        let error = await #expect(throws: SystemError.self) { _ = try await issuer.check(try handle(key, wide)) }
        #expect(error?.code == .forbidden && error?.message.contains("payments") == true)
        let write: Parameters = [
            "permissions": .list([.map(["cache": .string("payments"), "role": .string("writeonly")])])
        ]
        #expect(try await issuer.check(try handle(try await issue(try request(write), issuer), write)) == .cannotTell)
    }

    @Test(
        "A refusal is told as what it is",
        arguments: [
            ("INVALID_ARGUMENT", SystemError.Code.badRequest, false), ("UNAUTHENTICATED", .unauthorized, false),
            ("PERMISSION_DENIED", .forbidden, false), ("RESOURCE_EXHAUSTED", .rateLimited, false),
            ("UNAVAILABLE", .unavailable, true), ("INTERNAL", .unavailable, true),
            ("UNIMPLEMENTED", .unsupported, false),
        ])
    func refusals(status: String, code: SystemError.Code, mayHaveTakenEffect: Bool) async throws {
        try peer.tell(#"{"refuse": {"GenerateApiToken": "\#(status)"}}"#)
        let request = try request()
        let error = await #expect(throws: SystemError.self) { _ = try await issue(request) }
        #expect(error?.code == code && error?.mayHaveTakenEffect == mayHaveTakenEffect)
        #expect(!"\(error as Any)".contains("made up"))
    }

    // MARK: Lost answers

    @Test(arguments: ["lose", "hang"])
    func aKeyWhoseAnswerIsLostIsReportedUntilItEnds(fault: String) async throws {
        try peer.tell(#"{"\#(fault)": ["GenerateApiToken"]}"#)
        let issuer = try issuer(["timeout": .integer(2)])
        let request = try request()
        let prepared = try await issuer.prepare(request)
        let error = await #expect(throws: SystemError.self) {
            _ = try await issuer.issue(request, prepared: prepared)
        }
        #expect(error?.mayHaveTakenEffect == true, "\(error as Any)")
        let state = try peer.tell()
        #expect(state.calls == ["GenerateApiToken"], "it is not asked for again")
        #expect(state.made == 1, "Momento acted")
        guard case .unknowable(let end?) = try await issuer.resolve(request, prepared: prepared) else {
            Issue.record("nobody can know")
            return
        }
        #expect(
            end >= MomentoPeer.start.addingTimeInterval(86_400) && end < MomentoPeer.start.addingTimeInterval(87_000))
    }

    @Test func aServerThatIsNotThereHasDoneNothing() async throws {
        let issuer = try issuer(["address": .string("http://127.0.0.1:\(try Loopback.closedPort())")])
        let request = try request()
        let error = await #expect(throws: SystemError.self) { _ = try await issue(request, issuer) }
        #expect(error?.code == .unreachable && error?.mayHaveTakenEffect == false)
    }

    @Test func aServerOfAnotherProtocolIsNotBelieved() async throws {
        let server = try TestServer { _, channel in
            channel.answer(200, "hello")
            return .close
        }
        let issuer = try issuer(["address": .string(server.url())])
        let request = try request()
        let error = await #expect(throws: SystemError.self) { _ = try await issue(request, issuer) }
        #expect(error?.mayHaveTakenEffect == true)
    }

    // MARK: Renewal

    private static let renewing: Parameters = parameters.merging(["renew": .string("refresh")]) { own, _ in own }

    @Test func eachKeyIsMadeOutOfTheOneBefore() async throws {
        let issuer = try issuer()
        let first = try await issue(try request(Self.renewing), issuer)
        time.set(MomentoPeer.start.addingTimeInterval(3600))
        try peer.tell(#"{"now": 1800003600}"#)
        let second = try await issue(try request(Self.renewing, lifetime: 60, after: first), issuer)
        let third = try await issue(try request(Self.renewing, lifetime: 60, after: second), issuer)
        #expect(try peer.tell().calls == ["GenerateApiToken", "RefreshApiToken", "RefreshApiToken"])
        #expect(
            second.expiresAt == MomentoPeer.start.addingTimeInterval(3600 + 86_400), "its life is that of the first")
        let tokens = Set([first, second, third].compactMap { $0.material.fields["refreshToken"]?.exposedText() })
        #expect(tokens.count == 3, "a new refresh token comes with each key")
        for key in [first, second, third] { #expect(try await issuer.check(try handle(key)) == .works) }
    }

    @Test func aLostRefreshIsReportedForTheLifeOfTheKeyBefore() async throws {
        let issuer = try issuer()
        let first = try await issue(try request(Self.renewing), issuer)
        try peer.tell(#"{"lose": ["RefreshApiToken"]}"#)
        let request = try request(Self.renewing, lifetime: 60, after: first)
        let prepared = try await issuer.prepare(request)
        let error = await #expect(throws: SystemError.self) {
            _ = try await issuer.issue(request, prepared: prepared)
        }
        #expect(error?.mayHaveTakenEffect == true)
        guard case .unknowable(let end?) = try await issuer.resolve(request, prepared: prepared) else {
            Issue.record("nobody can know")
            return
        }
        #expect(end >= MomentoPeer.start.addingTimeInterval(86_400))
    }

    @Test func whatCannotBeRefreshedIsMadeAnewOrToldToAPerson() async throws {
        let issuer = try issuer()
        let first = try await issue(try request(Self.renewing), issuer)
        time.set(MomentoPeer.start.addingTimeInterval(90_000))
        let second = try await issue(try request(Self.renewing, after: first), issuer)
        #expect(!second.material.matches(first.material))
        #expect(try peer.tell().calls == ["GenerateApiToken", "GenerateApiToken"])
        let superUser: Parameters = ["superUser": .boolean(true), "renew": .string("refresh")]
        let error = await #expect(throws: SystemError.self) {
            _ = try await issuer.prepare(try request(superUser, after: first))
        }
        #expect(error?.code == .misconfigured && error?.advice.contains("keyturn adopt") == true)
    }

    @Test func ourOwnKeyIsLookedAtBeforeItIsUsed() async throws {
        time.set(MomentoPeer.start.addingTimeInterval(1e8 + 1))
        let issuer = try issuer()
        let error = await #expect(throws: SystemError.self) { _ = try await issuer.prepare(try request()) }
        #expect(error?.code == .unauthorized && error?.message.contains("expired") == true)
        let probing = await #expect(throws: SystemError.self) { try await issuer.probe(Self.parameters) }
        #expect(probing?.code == .unauthorized)
        #expect(try peer.tell().calls == [])
    }

    // MARK: Keys from the console

    private func read(_ text: String) throws -> IssuedKey {
        let power = try #require(try issuer() as? any ReadsDownloadedKeys)
        return try power.read(SecretValue(utf8: text), now: MomentoPeer.start)
    }

    @Test func theConsolesFileIsReadInEveryShape() throws {
        let inner = MomentoKeyTests.token(#"{"iat":1790000000,"exp":1900000000}"#)
        let wrapped = try #require(MomentoKey.wrapped(inner, endpoint: "c.example.com").exposedText())
        let legacy = MomentoKeyTests.token(#"{"c":"cache.old.example.com","cp":"control.old.example.com"}"#)
        let file = try read(#"{"apiKey":"\#(wrapped)","refreshToken":"r","validUntil":"1850000000"}"#)
        #expect(file.material.value.exposedText() == wrapped)
        #expect(
            file.material.fields.mapValues { $0.exposedText() ?? "" } == [
                "value": wrapped, "apiKey": inner, "endpoint": "c.example.com", "refreshToken": "r",
            ])
        #expect(file.expiresAt == Date(timeIntervalSince1970: 1_850_000_000))
        #expect(file.issuedAt == Date(timeIntervalSince1970: 1_790_000_000))
        #expect(try read(#"{"authToken":"\#(wrapped)"}"#).expiresAt == Date(timeIntervalSince1970: 1_900_000_000))
        #expect(try read(wrapped).material.fields["refreshToken"] == nil)
        let beside = try read(#"{"apiKey":"\#(inner)","endpoint":"c.example.com"}"#)
        #expect(beside.material.value.exposedText() == wrapped)
        let old = try read(legacy)
        #expect(old.material.value.exposedText() == legacy)
        #expect(old.material.fields["endpoint"]?.exposedText() == "old.example.com")
        let global = #expect(throws: InvalidAdoptedKey.self) { _ = try read(MomentoKeyTests.token(#"{"t":"g"}"#)) }
        #expect(global?.reason.contains("second generation") == true)
    }
}
