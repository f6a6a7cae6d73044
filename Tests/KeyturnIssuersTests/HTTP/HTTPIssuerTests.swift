import Foundation
import KeyturnCore
import KeyturnHTTP
import KeyturnSystem
import Synchronization
import TestSupport
import Testing

@testable import KeyturnIssuers

@Suite("Any interface over HTTP")
struct HTTPIssuerTests {
    private let folder: ScratchFolder
    private let service: FakeKeyService

    init() throws {
        folder = try ScratchFolder()
        service = try FakeKeyService()
    }

    private static func map(_ members: [String: ParameterValue]) -> ParameterValue { .map(members) }

    private func configuration(_ changes: Parameters = [:]) -> Parameters {
        let keys = ParameterValue.string("/v1/teams/{{team}}/keys")
        let usual: Parameters = [
            "url": .string(service.address + "/"),
            "headers": .map(["Authorization": .string("Bearer {{token}}")]),
            "credentials": .list([.map(["name": .string("token"), "secret": .secret(.environment("OWN"))])]),
            "create": .map([
                "method": .string("POST"), "path": keys,
                "json": .map([
                    "note": .string("{{lineage}}"), "ttl": .string("{{lifetimeSeconds}}"),
                    "scopes": .string("{{scopes}}"), "label": .string("for {{secret}}"), "fixed": .boolean(true),
                ]),
            ]),
            "answer": .map([
                "value": .string("/data/token"), "keyId": .string("/data/id"), "expiresAt": .string("/data/end"),
                "fields": .map(["user": .string("/data/user")]),
            ]),
            "list": .map([
                "path": keys, "query": .map(["from": .string("{{page}}")]), "items": .string("/data"),
                "keyId": .string("/id"), "lineage": .string("/note"), "createdAt": .string("/made"),
                "nextPage": .string("/next"),
            ]),
            "check": .map(["path": .string("/v1/me"), "headers": .map(["X-Key": .string("{{value}}")])]),
            "revoke": .map(["method": .string("DELETE"), "path": .string("/v1/teams/{{team}}/keys/{{keyId}}")]),
            "listingDelay": .integer(30),
        ]
        return usual.merging(changes) { _, new in new }.filter { $0.value != .null }
    }

    private let issue: Parameters = [
        "parameters": .map([
            "team": .string("a/b"), "scopes": .list([.string("read"), .string(#"w"rite"#)]),
        ])
    ]

    private func issuer(_ changes: Parameters = [:]) throws -> any Issuer {
        try HTTPIssuer.type.make(
            "api", configuration(changes), try .forTests(folder, environment: ["OWN": "own+secret"]))
    }

    private func request(lifetime: Int64? = 86_400, waited: Double = 0) throws -> IssueRequest {
        IssueRequest(
            lineage: Lineage(secret: try SecretName("team/key"), version: 3, nonce: String(repeating: "a", count: 32)),
            parameters: issue, lifetime: lifetime, intendedAt: Date(timeIntervalSince1970: 1_800_000_000),
            waited: waited, knownKeyIDs: [])
    }

    private func failure(_ body: () async throws -> Void) async -> SystemError? {
        do { try await body() } catch { return error as? SystemError }
        return nil
    }

    @Test(arguments: IssuerContract.checks)
    func keepsTheContract(check: ContractCheck<IssuerSubject>) async throws {
        try await check.run(IssuerSubject(try issuer(), parameters: issue))
    }

    @Test(arguments: IssuerContract.checks)
    func keepsItWithoutAList(check: ContractCheck<IssuerSubject>) async throws {
        try await check.run(IssuerSubject(try issuer(["list": .null]), parameters: issue))
    }

    @Test func aRequestIsWhatItsDescriptionSays() async throws {
        let issuer = try issuer()
        let key = try await issuer.issue(try request(), prepared: IssuePreparation())
        #expect(key.keyID == "1" && key.material.value.exposedText() == "t-1/+=")
        #expect(key.material.fields["user"]?.exposedText() == "u-1")
        #expect(key.expiresAt == Date(timeIntervalSince1970: 1_800_086_400))
        let sent = try #require(service.requests.first)
        #expect(sent.method == "POST" && sent.target == "/v1/teams/a%2Fb/keys")
        #expect(sent.all("content-type") == ["application/json"])
        #expect(
            String(decoding: sent.body, as: UTF8.self)
                == #"{"fixed":true,"label":"for team/key","note":"keyturn:team/key:3:\#(String(repeating: "a", count: 32))","#
                + #""scopes":["read","w\"rite"],"ttl":86400}"#)
        // Without a lifetime there is nothing to say of one.
        _ = try await issuer.issue(try request(lifetime: nil), prepared: IssuePreparation())
        #expect(service.requests.last.map { !String(decoding: $0.body, as: UTF8.self).contains("ttl") } == true)
    }

    @Test func aListIsReadToItsEnd() async throws {
        let issuer = try issuer()
        for _ in 1...5 { _ = try await issuer.issue(try request(), prepared: IssuePreparation()) }
        let lister = try #require(issuer as? any ListsKeys)
        let keys = try await lister.keys(for: issue)
        #expect(keys.map(\.keyID) == ["1", "2", "3", "4", "5"] && keys.allSatisfy { $0.lineage?.version == 3 })
        #expect(keys.first?.createdAt == Date(timeIntervalSince1970: 1_800_000_000))
        guard case .orphaned(let ids) = try await issuer.resolve(try request(), prepared: IssuePreparation()) else {
            Issue.record("keys are not found")
            return
        }
        #expect(ids.count == 5)
    }

    @Test func aLostAnswerIsFoundAndNothingIsAskedTwice() async throws {
        let issuer = try issuer()
        service.state.withLock { $0.losesAnswers = true }
        let lost = await failure { _ = try await issuer.issue(try request(), prepared: IssuePreparation()) }
        #expect(lost?.mayHaveTakenEffect == true && service.requests.count == 1)
        guard case .orphaned(["1"]) = try await issuer.resolve(try request(), prepared: IssuePreparation()) else {
            Issue.record("it is not found")
            return
        }
        service.state.withLock { $0.keys = [] }
        guard case .undecided = try await issuer.resolve(try request(waited: 29), prepared: IssuePreparation()),
            case .neverMade = try await issuer.resolve(try request(waited: 31), prepared: IssuePreparation())
        else {
            Issue.record("it is not waited for")
            return
        }
    }

    @Test(arguments: [
        (200, #"{"data":{}}"#, SystemError.Code.badAnswer), (200, "CANARY", .badAnswer),
        (200, #"{"data":{"token":"CANARY"}}"#, .badAnswer),
        (200, #"{"data":{"token":"","id":1,"user":"u"}}"#, .badAnswer),
        (200, #"{"data":{"token":"CANARY","id":1,"user":"u","end":"soon"}}"#, .badAnswer),
        (401, "CANARY", .unauthorized),
        (409, "CANARY", .limitExceeded), (429, "", .rateLimited), (503, "CANARY", .unavailable),
    ])
    func whatGoesWrongIsToldWithoutAnswers(status: Int, body: String, code: SystemError.Code) async throws {
        let issuer = try issuer(["errors": .map(["409": .string("limitExceeded")])])
        service.state.withLock { $0.refusal = (status, body) }
        let error = try #require(
            await failure { _ = try await issuer.issue(try request(), prepared: IssuePreparation()) })
        #expect(error.code == code && !"\(error)".contains("CANARY"))
        #expect(error.mayHaveTakenEffect == (status == 200 || status == 503))
    }

    @Test(arguments: ["..", ".", ""])
    func noValueLeadsToAnotherPath(team: String) async throws {
        let issuer = try issuer()
        let request = IssueRequest(
            lineage: try request().lineage, parameters: ["parameters": .map(["team": .string(team)])], lifetime: 1,
            intendedAt: Date(timeIntervalSince1970: 1_800_000_000), knownKeyIDs: [])
        let error = await failure { _ = try await issuer.issue(request, prepared: IssuePreparation()) }
        #expect(error?.code == .badRequest && service.requests.isEmpty)
    }

    @Test func nothingBreaksOutOfItsPlace() throws {
        let nasty = #"","admin":true,"x":"\#r\#n&a=b?#/../%2e "#
        let words = ["x": RequestWord(nasty), "n": .plain(.integer(7)), "l": .plain(.list([.string(nasty), .null]))]
        let json = try RequestTemplate([
            "path": .string("/a/{{x}}/b"), "query": .map(["q": .string("{{x}}"), "none": .string("{{other}}")]),
            "json": .map([
                "a": .string("{{x}}"), "b": .string("<{{x}}>"), "c": .string("{{n}}"), "d": .string("{{l}}"),
                "e": .string("{{other}}"), "f": .string("{{x|base64}}"), "g": .list([.string("{{n}}"), .decimal(1.5)]),
            ]),
        ]).request(at: "http://127.0.0.1", words, .init())
        let escaped = try #require(json.url.dropFirst("http://127.0.0.1/a/".count).split(separator: "/").first)
        #expect(json.url == "http://127.0.0.1/a/\(escaped)/b?q=\(escaped)")
        #expect(String(escaped).removingPercentEncoding == nasty && !escaped.contains("?") && !escaped.contains("&"))
        let body = try #require(json.body?.exposedText())
        let decoded = try JSONDecoder().decode([String: JSONValue].self, from: Data(body.utf8))
        #expect(
            decoded == [
                "a": .string(nasty), "b": .string("<\(nasty)>"), "c": .integer(7),
                "d": .array([.string(nasty), .null]), "f": .string(Data(nasty.utf8).base64EncodedString()),
                "g": .array([.integer(7), .number(1.5)]),
            ])
        let form = try RequestTemplate(["path": .string("/"), "form": .map(["a&b": .string("{{x}}")])])
            .request(at: "http://127.0.0.1", words, .init())
        #expect(form.body?.exposedText() == "a%26b=\(escaped)")
    }

    @Test func whatIsWrongIsFoundBeforehand() {
        func problems(_ changes: Parameters) -> [String] {
            HTTPIssuer.description.configuration.check(configuration(changes), [:]).map {
                $0.path.joined(separator: ".")
            }
        }
        let path = ParameterValue.string("/k")
        #expect(problems([:]) == [])
        #expect(problems(["create": .map(["path": path])]) == ["create"], "no mark is left")
        #expect(problems(["list": .null, "create": .map(["path": path])]) == [])
        #expect(problems(["check": .map(["path": .string("/{{value}}")])]) == ["check"])
        #expect(problems(["check": .map(["path": path, "query": .map(["k": .string("{{token}}")])])]) == ["check"])
        #expect(problems(["check": .map(["path": .string("k?a=b")])]) == ["check.path", "check.path"])
        #expect(problems(["check": .map(["path": path, "json": .string("{{value|shell}}")])]) == ["check"])
        #expect(problems(["check": .map(["path": path, "json": .null, "form": .map([:])])]) == ["check"])
        #expect(problems(["revoke": .map(["path": path, "json": .string("{{value}}")])]) == ["revoke"])
        #expect(problems(["answer": .map(["value": .string("token")])]) == ["answer", "answer.value"])
        #expect(
            problems(["errors": .map(["409": .string("full"), "x": .string("conflict")])]) == [
                "errors.409", "errors.x",
            ])
        func policy(_ parameters: ParameterValue) -> [String] {
            HTTPIssuer.description.check(configuration(), ["parameters": parameters], 1).map(\.message)
        }
        #expect(policy(.map(["team": .string("a"), "scopes": .list([])])) == [])
        #expect(policy(.map(["team": .string("a")])).count == 1 && policy(.string("x")).count == 5)
        #expect(policy(.map(["team": .string("a"), "scopes": .null, "keyId": .string("x")])).count == 1)
    }
}

@Suite("JSON pointers")
struct JSONPointerTests {
    /// The examples of RFC 6901, section 5.
    @Test(arguments: [
        ("/foo", #"["bar","baz"]"#), ("/foo/0", #""bar""#), ("/", "0"), ("/a~1b", "1"), ("/c%d", "2"), ("/e^f", "3"),
        ("/g|h", "4"), (#"/i\j"#, "5"), (#"/k"l"#, "6"), ("/ ", "7"), ("/m~0n", "8"),
    ])
    func findWhatTheRFCSays(pointer: String, expected: String) throws {
        let document = try JSONDecoder().decode(
            JSONValue.self,
            from: Data(
                #"{"foo":["bar","baz"],"":0,"a/b":1,"c%d":2,"e^f":3,"g|h":4,"i\\j":5,"k\"l":6," ":7,"m~n":8}"#.utf8))
        let found = try JSONDecoder().decode(JSONValue.self, from: Data(expected.utf8))
        let place = try #require(JSONPointer(pointer))
        #expect(place.find(in: document) == found && place.description == pointer)
        #expect(JSONPointer("")?.find(in: document) == document)
        for nothing in ["/foo/2", "/foo/-", "/foo/00", "/foo/-1", "/foo/+1", "/foo/0/x", "/bar"] {
            #expect(JSONPointer(nothing)?.find(in: document) == nil)
        }
    }

    @Test(arguments: ["foo", "#/foo", "/~", "/~2", "/a~", " /a"])
    func otherTextsAreNone(text: String) { #expect(JSONPointer(text) == nil) }
}
