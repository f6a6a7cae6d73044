import Foundation
import KeyturnCore
import KeyturnIssuers
import KeyturnSystem
import Synchronization
import TestSupport
import Testing

@Suite("Momento's keys of the second generation", .serialized)
struct MomentoIssuerTests {
    private let folder: ScratchFolder
    private let time = ManualTimekeeper(startingAt: MomentoPeer.start)

    private static let parameters: Parameters = [
        "role": .string("reader"), "check": .map(["cache": .string("payments")]),
    ]

    init() throws { folder = try ScratchFolder() }

    private func issuer(
        _ address: String, _ environment: [String: String] = ["MOMENTO_ADMIN": "CANARY-admin"],
        _ more: Parameters = [:]
    ) throws -> any Issuer {
        let type = try #require(IssuerRegistry.all.first { $0.description.type == "momento" })
        let parameters: Parameters = [
            "apiKey": .secret(.environment("MOMENTO_ADMIN")), "endpoint": .string("cell.example.com"),
            "address": .string(address), "cacheAddress": .string(address),
        ]
        return try type.make(
            "momento", parameters.merging(more) { _, own in own },
            try .forTests(folder, environment: environment, time: time))
    }

    private func request(lifetime: Int64? = 86_400, waited: Double = 0) throws -> IssueRequest {
        IssueRequest(
            lineage: Lineage(
                secret: try SecretName("team/key"), version: 3, nonce: String(repeating: "a", count: 32)),
            parameters: Self.parameters, lifetime: lifetime, intendedAt: MomentoPeer.start, waited: waited,
            knownKeyIDs: [])
    }

    private func handle(_ id: String?, _ text: String = "CANARY-key") throws -> KeyHandle {
        KeyHandle(
            secret: try SecretName("team/key"), version: 1, keyID: id,
            material: KeyMaterial(value: SecretValue(utf8: text)), parameters: Self.parameters)
    }

    @Test(arguments: IssuerContract.checks)
    func theContractIsKept(check: ContractCheck<IssuerSubject>) async throws {
        let peer = try MomentoPeer()
        try await check.run(
            IssuerSubject(try issuer(peer.address, peer.environment), parameters: Self.parameters))
    }

    // MARK: The wire

    private static let created = """
        {"api_key": "CANARY-text", "key_info": {"key_id": "k 1", "account_id": "a", "description": "d", "role_id": "reader", \
        "issued_at_epoch_seconds": 1800000000, "expires_at_epoch_seconds": 1800086400}}
        """

    @Test func aKeyIsAskedForAsTheDocumentSays() async throws {
        let server = try TestServer { _, channel in
            channel.answer(200, Self.created)
            return .keep
        }
        let issuer = try issuer(server.url(""))
        for (lifetime, expiry) in [(Int64(86_400), "1800086400"), (nil, "\"never\"")] as [(Int64?, String)] {
            let request = try request(lifetime: lifetime)
            let prepared = try await issuer.prepare(request)
            #expect(prepared.notes["description"] == request.lineage.description)
            let key = try await issuer.issue(request, prepared: prepared)
            #expect(key.keyID == "k 1" && key.material.value.exposedText() == "CANARY-text")
            #expect(key.material.fields["endpoint"]?.exposedText() == "cell.example.com")
            let received = try #require(server.received.last)
            #expect(received.method == "POST" && received.target == "/api-keys")
            #expect(received.all("Authorization") == ["CANARY-admin"], "no scheme goes before the key")
            #expect(received.all("Content-Type") == ["application/json"])
            let body = String(decoding: received.body, as: UTF8.self)
            #expect(body.contains(#""expiry":\#(expiry)"#) && body.contains(#""role_id":"reader""#))
            #expect(body.contains(#""description":"keyturn:team\/key:3:aaaa"#))
        }
        try await issuer.revoke(try handle("k 1/2"))
        #expect(server.received.last?.method == "DELETE")
        #expect(server.received.last?.target == "/api-keys/k%201%2F2")
    }

    @Test(
        "A refusal is told as what it is",
        arguments: [
            (400, SystemError.Code.badRequest, false), (401, .unauthorized, false), (403, .forbidden, false),
            (404, .notFound, false), (429, .rateLimited, false), (500, .unavailable, true), (503, .unavailable, true),
        ])
    func refusals(status: Int, code: SystemError.Code, mayHaveTakenEffect: Bool) async throws {
        let server = try TestServer { _, channel in
            channel.answer(status, #"{"code":"CANARY","message":"CANARY"}"#, headers: ["Retry-After: 3"])
            return .keep
        }
        let issuer = try issuer(server.url(""))
        let request = try request()
        let error = await #expect(throws: SystemError.self) {
            _ = try await issuer.issue(request, prepared: IssuePreparation())
        }
        #expect(error?.code == code && error?.mayHaveTakenEffect == mayHaveTakenEffect)
        #expect(!"\(error as Any)".contains("CANARY"))
        #expect(status != 429 || error?.retryAfter == 3)
        let listing = await #expect(throws: SystemError.self) {
            _ = try await issuer.resolve(request, prepared: IssuePreparation())
        }
        #expect(listing?.code == code)
        #expect([401, 403].contains(status) == (listing?.advice.contains("apiKey") == true))
    }

    @Test func aKeyThatIsGoneIsRevoked() async throws {
        let server = try TestServer { _, channel in
            channel.answer(404, #"{"code":"NotFound","message":"m"}"#)
            return .keep
        }
        try await issuer(server.url("")).revoke(try handle("k"))
        #expect(server.received.count == 1)
    }

    @Test(arguments: [
        "", "{}", "[]", #"{"api_key":"","key_info":{"key_id":"k"}}"#, #"{"api_key":"CANARY","key_info":{}}"#,
    ])
    func anAnswerWithoutAKeyIsAnUnknownOutcome(body: String) async throws {
        let server = try TestServer { _, channel in
            channel.answer(200, body)
            return .keep
        }
        let request = try request()
        let issuer = try issuer(server.url(""))
        let error = await #expect(throws: SystemError.self) {
            _ = try await issuer.issue(request, prepared: IssuePreparation())
        }
        #expect(error?.code == .badAnswer && error?.mayHaveTakenEffect == true)
        #expect(!"\(error as Any)".contains("CANARY"))
    }

    // MARK: Lost answers

    @Test func anAnswerThatIsCutIsAnUnknownOutcomeAndNotAskedForAgain() async throws {
        let server = try TestServer { _, channel in
            channel.send("HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{")
            return .close
        }
        let request = try request()
        let issuer = try issuer(server.url(""))
        let error = await #expect(throws: SystemError.self) {
            _ = try await issuer.issue(request, prepared: IssuePreparation())
        }
        #expect(error?.mayHaveTakenEffect == true)
        #expect(server.received.count == 1)
    }

    @Test func aKeyIsFoundOnWhateverPageItIs() async throws {
        let request = try request()
        let server = try TestServer { received, channel in
            let listed = ["", "p1", "p2"].firstIndex { received.target.hasSuffix("next_token=\($0)") } ?? 0
            let description = listed == 2 ? request.lineage.description : "another's"
            let next = listed < 2 ? #", "next_token": "p\#(listed + 1)""# : ""
            channel.answer(
                200, #"{"key_info": [{"key_id": "k\#(listed)", "description": "\#(description)"}]\#(next)}"#)
            return .keep
        }
        let issuer = try issuer(server.url(""))
        guard case .orphaned(let ids) = try await issuer.resolve(request, prepared: IssuePreparation()) else {
            Issue.record("it was not found")
            return
        }
        #expect(ids == ["k2"])
        #expect(server.received.map(\.target).first == "/api-keys?limit=100")
    }

    @Test func aListThatDoesNotEndProvesNothing() async throws {
        let request = try request()
        let count = Mutex(0)
        for goesInCircles in [true, false] {
            let server = try TestServer { _, channel in
                let number = count.withLock { count in
                    count += 1
                    return count
                }
                channel.answer(200, #"{"key_info": [], "next_token": "p\#(goesInCircles ? 0 : number)"}"#)
                return .keep
            }
            let issuer = try issuer(server.url(""))
            time.set(MomentoPeer.start.addingTimeInterval(86_400))
            let error = await #expect(throws: SystemError.self) {
                _ = try await issuer.resolve(request, prepared: IssuePreparation())
            }
            #expect(error?.code == .badAnswer)
        }
    }

    @Test func aKeyIsLookedForAgainBeforeItIsBelievedNeverMade() async throws {
        let server = try TestServer { _, channel in
            channel.answer(200, #"{"key_info": []}"#)
            return .keep
        }
        let issuer = try issuer(server.url(""))
        let request = try request()
        guard case .undecided(let seconds) = try await issuer.resolve(request, prepared: IssuePreparation()) else {
            Issue.record("one look was enough")
            return
        }
        #expect(seconds > 0 && seconds < 15)
        let later = try self.request(waited: 16)
        guard case .neverMade = try await issuer.resolve(later, prepared: IssuePreparation()) else {
            Issue.record("it is still looked for")
            return
        }
    }

    // MARK: Checks

    @Test(
        "What the cache answers tells whether the key works",
        arguments: [
            (200, "value", KeyCheck.works), (404, "Key Not Found", .works),
            (404, #"{"message":"key not found"}"#, .works),
            (401, "", .notYet("Momento does not accept the key")),
        ])
    func checks(status: Int, body: String, check: KeyCheck) async throws {
        let server = try TestServer { _, channel in
            channel.answer(status, body)
            return .keep
        }
        let key = try handle("k")
        #expect(try await issuer(server.url("")).check(key) == check)
        #expect(server.received.map(\.target) == ["/cache/payments?key=keyturn-check"])
        #expect(server.received.first?.all("Authorization") == ["CANARY-key"])
    }

    @Test(arguments: [
        (403, "", SystemError.Code.forbidden), (404, "Cache Not Found", .notFound), (404, "<html>", .badAnswer),
        (429, "", .rateLimited), (500, "", .unavailable),
    ])
    func aCheckThatProvesNothingSaysWhy(status: Int, body: String, code: SystemError.Code) async throws {
        let server = try TestServer { _, channel in
            channel.answer(status, body)
            return .keep
        }
        let key = try handle("k")
        let issuer = try issuer(server.url(""))
        let error = await #expect(throws: SystemError.self) { _ = try await issuer.check(key) }
        #expect(error?.code == code)
        #expect(!"\(error as Any)".contains("CANARY"))
    }

    @Test func withoutACacheNobodyCanTell() async throws {
        let key = KeyHandle(
            secret: try SecretName("team/key"), version: 1, keyID: "k",
            material: KeyMaterial(value: SecretValue(utf8: "x")), parameters: ["role": .string("reader")])
        #expect(try await issuer("http://127.0.0.1:1").check(key) == .cannotTell)
    }

    // MARK: Keys from the console

    private func read(_ text: String) throws -> IssuedKey {
        let power = try #require(try issuer("http://127.0.0.1:1") as? any ReadsDownloadedKeys)
        return try power.read(SecretValue(utf8: text), now: MomentoPeer.start)
    }

    @Test func theConsolesFileIsReadInEveryShape() throws {
        let end = 1_900_000_000
        let bare = MomentoKeyTests.token(#"{"t":"g","jti":"k-1","iat":1790000000}"#)
        let dated = MomentoKeyTests.token(#"{"t":"g","exp":\#(end)}"#)
        for (file, expiry, id) in [
            (bare, nil, nil), ("\n\(dated)\n", end, nil), (#"{"apiKey":"\#(bare)","validUntil":\#(end)}"#, end, nil),
            (#"{"apiKey":"\#(bare)","validUntil":"\#(end)","keyId":"k-9"}"#, end, "k-9"),
            (#"{"authToken":"\#(bare)","validUntil":0}"#, nil, nil),
            (#"{"apiKey":"\#(bare)","validUntil":"Infinity","refreshToken":""}"#, nil, nil),
            (#"{"apiKey":"\#(dated)"}"#, end, nil), (#"{"apiKey":"\#(dated)","validUntil":\#(end + 1)}"#, end + 1, nil),
        ] as [(String, Int?, String?)] {
            let key = try read(file)
            #expect(key.expiresAt == expiry.map { Date(timeIntervalSince1970: Double($0)) }, "\(file)")
            #expect(key.keyID == id)
            #expect([bare, dated].contains(key.material.value.exposedText()))
            #expect(key.material.fields["endpoint"]?.exposedText() == "cell.example.com")
        }
    }

    @Test func otherFilesAreRefusedInSilence() throws {
        let v2 = MomentoKeyTests.token(#"{"t":"g","n":"CANARY"}"#)
        for file in [
            "", "{", "CANARY", #"{"apiKey":"CANARY"}"#, #"{"apiKey":""}"#, #"{"accessKeyId":"CANARY"}"#,
            #"{"apiKey":"\#(v2)","validUntil":"CANARY"}"#, #"{"apiKey":"\#(v2)","validUntil":1}"#,
            #"{"apiKey":"\#(v2)","validUntil":-1}"#, #"{"apiKey":"\#(v2)","validUntil":1e300}"#,
            #"{"apiKey":"\#(v2)","endpoint":"https://CANARY/"}"#, MomentoKeyTests.token(#"{"sub":"CANARY"}"#),
        ] {
            let error = #expect(throws: InvalidAdoptedKey.self) { _ = try read(file) }
            #expect(!"\(error as Any)".contains("CANARY"))
        }
    }

    @Test func anAdoptedKeyWithoutItsIdIsRevokedByItsOwnNameOnly() async throws {
        let listed = Mutex("another")
        let cache = Mutex(404)
        let server = try TestServer { received, channel in
            if received.target.hasPrefix("/cache/") {
                channel.answer(cache.withLock { $0 }, "Key Not Found")
            } else {
                channel.answer(200, #"{"key_info": [{"key_id": "\#(listed.withLock { $0 })"}]}"#)
            }
            return .keep
        }
        let issuer = try issuer(server.url(""))
        let key = try handle(nil, MomentoKeyTests.token(#"{"t":"g","jti":"k-1"}"#))
        let error = await #expect(throws: SystemError.self) { try await issuer.revoke(key) }
        #expect(error?.advice.contains("console") == true)
        #expect(!server.received.contains { $0.method == "DELETE" })
        // A person revoked it.
        cache.withLock { $0 = 401 }
        try await issuer.revoke(key)
        #expect(!server.received.contains { $0.method == "DELETE" })
        listed.withLock { $0 = "k-1" }
        try await issuer.revoke(key)
        #expect(server.received.last { $0.method == "DELETE" }?.target == "/api-keys/k-1")
    }

    // MARK: Pace

    @Test func allSecretsShareTheAccountsPace() async throws {
        let server = try TestServer { _, channel in
            channel.answer(200, #"{"key_info": []}"#)
            return .keep
        }
        let type = try #require(IssuerRegistry.all.first { $0.description.type == "momento" })
        let issuer = try type.make(
            "momento",
            [
                "apiKey": .secret(.environment("MOMENTO_ADMIN")), "endpoint": .string("cell.example.com"),
                "address": .string(server.url("")),
            ], try .forTests(folder, environment: ["MOMENTO_ADMIN": "k"]))
        let begun = ContinuousClock.now
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<11 { group.addTask { try await issuer.probe([:]) } }
            try await group.waitForAll()
        }
        #expect(begun.duration(to: .now) > .seconds(2), "eleven operations at five a second")
    }
}
