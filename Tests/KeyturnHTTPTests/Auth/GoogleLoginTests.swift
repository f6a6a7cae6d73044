import Foundation
import KeyturnCore
import KeyturnHTTP
import KeyturnSystem
import TestSupport
import Testing

@Suite("Logging in to Google Cloud")
struct GoogleLoginTests {
    private let tokens = FakeGoogleTokens()
    private let folder: ScratchFolder
    private let time = ManualTimekeeper(startingAt: Date(timeIntervalSince1970: 1_800_000_000))

    init() throws { folder = try ScratchFolder() }

    private func login(_ parameters: Parameters?, environment: [String: String] = [:]) throws -> AccessTokenCache {
        let services = try SystemServices.forTests(folder, environment: environment, time: time)
        return GoogleLogin(
            parameters, environment: services.environment, secrets: services.secrets, http: services.http,
            tls: TLSSettings(), timeout: 5, time: time
        ).tokens
    }

    private func token(_ parameters: Parameters?, environment: [String: String] = [:]) async throws -> String? {
        try await login(parameters, environment: environment).token().exposedText()
    }

    private func server(
        _ serve: @escaping @Sendable (TestServer.Received, TestServer.Channel) -> Void
    ) throws -> TestServer {
        try TestServer { request, channel in
            serve(request, channel)
            return .keep
        }
    }

    private func key(_ server: TestServer) -> Parameters {
        ["serviceAccountKey": .secret(.environment("KEY")), "tokenEndpoint": .string(server.url("/token"))]
    }

    private func failure(_ body: () async throws -> Void) async -> SystemError? {
        do { try await body() } catch { return error as? SystemError }
        return nil
    }

    @Test func aKeySignsForAToken() async throws {
        let server = try server { [tokens] in _ = tokens.serve($0, $1) }
        #expect(try await token(key(server), environment: ["KEY": tokens.own.file]) == "ya29.token-1")
        #expect(
            tokens.claims == [
                [
                    "iss": FakeGoogleTokens.email, "aud": "https://oauth2.googleapis.com/token", "iat": "1800000000",
                    "exp": "1800003600", "scope": "https://www.googleapis.com/auth/cloud-platform",
                ]
            ])
        #expect(server.received[0].all("Content-Type") == ["application/x-www-form-urlencoded"])
        let sent = String(decoding: server.received[0].body, as: UTF8.self)
        #expect(!sent.contains("PRIVATE"), "the key itself stays here")
    }

    @Test func theKeyFileOfTheEnvironmentIsReadAnewEachTime() async throws {
        let server = try server { [tokens] in _ = tokens.serve($0, $1) }
        let file = try folder.write(tokens.own.file, to: "key.json")
        try FileManager.default.setAttributes([.posixPermissions: 0o600], ofItemAtPath: file)
        let cache = try login(
            ["tokenEndpoint": .string(server.url("/token"))], environment: ["GOOGLE_APPLICATION_CREDENTIALS": file])
        _ = try await cache.token()
        let second = FakeGoogleTokens.key(1, email: FakeGoogleTokens.email)
        tokens.admit(second)
        try Data(second.file.utf8).write(to: URL(filePath: file))
        await cache.refused(try await cache.token())
        _ = try await cache.token()
        #expect(tokens.logins == [tokens.own.id, second.id])
        // As every file of a credential: nobody else may read it.
        try FileManager.default.setAttributes([.posixPermissions: 0o644], ofItemAtPath: file)
        await cache.refused(try await cache.token())
        let error = await failure { _ = try await cache.token() }
        #expect(error?.code == .forbidden)
    }

    @Test func aKeyThatIsRefusedIsTold() async throws {
        let server = try server { [tokens] in _ = tokens.serve($0, $1) }
        let stranger = FakeGoogleTokens.key(1, email: "other@acme-project.iam.gserviceaccount.com")
        let error = try #require(
            await failure { _ = try await token(key(server), environment: ["KEY": stranger.file]) })
        #expect(error.code == .unauthorized && "\(error)".contains(stranger.email))
        #expect(!"\(error)".contains("CANARY") && !error.mayHaveTakenEffect)
    }

    @Test(arguments: [
        (400, #"{"error":"invalid_grant"}"#, SystemError.Code.unauthorized),
        (401, #"{"error":"invalid_grant","error_description":"CANARY"}"#, .unauthorized),
        (400, #"{"error":"CANARY"}"#, .badRequest), (400, "<html>CANARY", .badRequest), (403, "", .forbidden),
        (404, "", .notFound), (429, "", .rateLimited), (500, #"{"error":"invalid_grant"}"#, .unavailable),
        (302, "", .badAnswer), (200, "CANARY", .badAnswer), (200, #"{"access_token":"","expires_in":1}"#, .badAnswer),
        (200, #"{"access_token":"CANARY","expires_in":"soon"}"#, .badAnswer),
    ])
    func refusalsAreToldApart(status: Int, body: String, code: SystemError.Code) async throws {
        let server = try server { $1.answer(status, body) }
        let error = try #require(
            await failure { _ = try await token(key(server), environment: ["KEY": tokens.own.file]) })
        #expect(error.code == code)
        #expect(!"\(error)".contains("CANARY"))
        #expect(!error.mayHaveTakenEffect, "a token that nobody got changes nothing")
    }

    @Test func theMachinesAccountIsAskedForAtItsMetadataServer() async throws {
        let server = try server { request, channel in
            guard request.all("Metadata-Flavor") == ["Google"], request.method == "GET" else {
                return channel.answer(403)
            }
            channel.answer(200, #"{"access_token":"m","expires_in":1000}"#, headers: ["Metadata-Flavor: Google"])
        }
        let proxy = ["http_proxy": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"]
        let parameters: Parameters = ["metadata": .map(["endpoint": .string(server.url(""))])]
        let cache = try login(parameters, environment: proxy)
        #expect(try await cache.token().exposedText() == "m")
        #expect(server.received[0].target == "/computeMetadata/v1/instance/service-accounts/default/token")
        time.set(Date(timeIntervalSince1970: 1_800_000_790))
        _ = try await cache.token()
        #expect(server.received.count == 1)
        time.set(Date(timeIntervalSince1970: 1_800_000_810))
        _ = try await cache.token()
        #expect(server.received.count == 2)
        // What the environment says, without parameters.
        let host = ["GCE_METADATA_HOST": "127.0.0.1:\(server.port)"]
        #expect(try await token(nil, environment: host) == "m")
        let account: Parameters = ["metadata": .map(["account": .string("a@b")])]
        #expect(try await token(account, environment: host) == "m")
        #expect(server.received[3].target == "/computeMetadata/v1/instance/service-accounts/a%40b/token")
    }

    @Test(arguments: [
        (200, #"{"access_token":"CANARY","expires_in":9}"#, false, SystemError.Code.badAnswer),
        (200, "CANARY", true, .badAnswer), (404, "CANARY", true, .notFound), (503, "", true, .unavailable),
        (429, "", true, .rateLimited),
    ])
    func whatTheMetadataServerRefuses(status: Int, body: String, isGoogle: Bool, code: SystemError.Code) async throws {
        let server = try server { $1.answer(status, body, headers: isGoogle ? ["Metadata-Flavor: Google"] : []) }
        let error = try #require(
            await failure { _ = try await token(["metadata": .map(["endpoint": .string(server.url(""))])]) })
        #expect(error.code == code && !error.mayHaveTakenEffect)
        #expect(!"\(error)".contains("CANARY"))
    }

    @Test func oneWayToLogInIsEnough() {
        let both: Parameters = ["serviceAccountKey": .secret(.environment("K")), "metadata": .map([:])]
        #expect(GoogleLogin.schema.check(both, [:]).map(\.path) == [["metadata"]])
        #expect(GoogleLogin.schema.check(["metadata": .map([:])], [:]).isEmpty)
    }
}
