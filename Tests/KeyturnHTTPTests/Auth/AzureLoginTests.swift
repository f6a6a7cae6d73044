import Foundation
import KeyturnCore
import KeyturnHTTP
import TestSupport
import Testing

/// Gives what a dictionary holds for references to the environment.
private struct Secrets: SecretResolver {
    let values: [String: String]

    func resolve(_ reference: SecretReference) async throws(SystemError) -> SecretValue {
        guard case .environment(let name) = reference, let text = values[name] else {
            throw SystemError(.misconfigured, "\(reference) is not there")
        }
        return SecretValue(utf8: text)
    }
}

@Suite("Logging in to Azure")
struct AzureLoginTests {
    private static let resource = "https://vault.azure.net"
    private let entra = FakeEntra()
    private let time = ManualTimekeeper(startingAt: Date(timeIntervalSince1970: 1_800_000_000))

    private func login(
        _ parameters: Parameters?, environment: [String: String] = [:]
    ) throws(SystemError) -> AzureLogin {
        let http: HTTPClient
        do { http = try HTTPClient(userAgent: "keyturn-test/1") } catch {
            throw SystemError(.local, "no client")
        }
        return try AzureLogin(
            parameters, environment: environment, secrets: Secrets(values: environment), http: http,
            tls: TLSSettings(), timeout: 5, time: time)
    }

    private func token(
        _ parameters: Parameters?, environment: [String: String] = [:]
    ) async throws(SystemError) -> String? {
        try await login(parameters, environment: environment).tokens(for: Self.resource).token().exposedText()
    }

    private func server(
        _ serve: @escaping @Sendable (TestServer.Received, TestServer.Channel) -> Void
    ) throws -> TestServer {
        try TestServer { request, channel in
            serve(request, channel)
            return .keep
        }
    }

    private func application(_ server: TestServer) -> Parameters {
        [
            "clientSecret": .map([
                "tenantId": .string(FakeEntra.tenant), "clientId": .string(FakeEntra.clientID),
                "secret": .secret(.environment("S")),
            ]), "authorityHost": .string(server.url()),
        ]
    }

    @Test func anApplicationShowsItsSecret() async throws {
        let server = try server { [entra] in _ = entra.serve($0, $1) }
        #expect(try await token(application(server), environment: ["S": FakeEntra.secret]) == "token-1")
        #expect(
            entra.logins == [
                [
                    "": "/\(FakeEntra.tenant)/oauth2/v2.0/token", "grant_type": "client_credentials",
                    "client_id": FakeEntra.clientID, "client_secret": FakeEntra.secret,
                    "scope": "https://vault.azure.net/.default",
                ]
            ])
        #expect(server.received[0].all("Content-Type") == ["application/x-www-form-urlencoded"])
    }

    @Test func theEnvironmentsApplicationIsTakenWithoutParameters() async throws {
        let server = try server { [entra] in _ = entra.serve($0, $1) }
        let environment = [
            "AZURE_TENANT_ID": FakeEntra.tenant, "AZURE_CLIENT_ID": FakeEntra.clientID,
            "AZURE_CLIENT_SECRET": FakeEntra.secret, "AZURE_AUTHORITY_HOST": server.url(),
        ]
        #expect(try await token(nil, environment: environment) == "token-1")
        #expect(try login(nil, environment: environment).tenant == FakeEntra.tenant)
    }

    @Test func aFederatedTokenIsReadAnewEachTime() async throws {
        let server = try server { [entra] in _ = entra.serve($0, $1) }
        let folder = try ScratchFolder()
        let file = try folder.write("first.j.w.t\n", to: "token")
        entra.setSecrets(["first.j.w.t", "second.j.w.t"], of: FakeEntra.clientID)
        let parameters: Parameters = [
            "workloadIdentity": .map(["tokenFile": .string(file)]), "authorityHost": .string(server.url()),
        ]
        let environment = ["AZURE_TENANT_ID": FakeEntra.tenant, "AZURE_CLIENT_ID": FakeEntra.clientID]
        let cache = try login(parameters, environment: environment).tokens(for: Self.resource)
        await cache.refused(try await cache.token())
        try folder.write("second.j.w.t", to: "token")
        _ = try await cache.token()
        #expect(entra.logins.map { $0["client_assertion"] } == ["first.j.w.t", "second.j.w.t"])
        #expect(
            entra.logins[0]["client_assertion_type"] == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
        #expect(entra.logins[0]["client_secret"] == nil)
        try FileManager.default.removeItem(atPath: file)
        await cache.refused(try await cache.token())
        await #expect(throws: SystemError.self) { try await cache.token() }
        #expect(throws: SystemError.self) { try login(parameters) }
    }

    @Test func theMachinesIdentityIsAskedForAtItsMetadataService() async throws {
        let server = try server { request, channel in
            guard request.all("Metadata") == ["true"], request.method == "GET" else { return channel.answer(400) }
            channel.answer(200, #"{"access_token":"mi","expires_in":"3599","expires_on":"1800003599"}"#)
        }
        let parameters: Parameters = [
            "managedIdentity": .map(["clientId": .string("an id"), "endpoint": .string(server.url())])
        ]
        #expect(try await token(parameters) == "mi")
        #expect(
            server.received[0].target
                == "/metadata/identity/oauth2/token?api-version=2018-02-01"
                + "&resource=https%3A%2F%2Fvault.azure.net&client_id=an%20id")
        #expect(try login(parameters).tenant == nil)
    }

    @Test func anAppsIdentityIsAskedForWhereTheEnvironmentSays() async throws {
        let server = try server { request, channel in
            guard request.all("X-IDENTITY-HEADER") == ["the header"] else { return channel.answer(401) }
            // Only the end is told, and the token is used for most of the time until then.
            channel.answer(200, #"{"access_token":"app","expires_on":"1800001000"}"#)
        }
        let environment = ["IDENTITY_ENDPOINT": server.url("/msi/token"), "IDENTITY_HEADER": "the header"]
        let cache = try login(["managedIdentity": .map([:])], environment: environment).tokens(for: Self.resource)
        #expect(try await cache.token().exposedText() == "app")
        #expect(
            server.received[0].target
                == "/msi/token?api-version=2019-08-01&resource=https%3A%2F%2Fvault.azure.net")
        time.set(Date(timeIntervalSince1970: 1_800_000_790))
        _ = try await cache.token()
        #expect(server.received.count == 1)
        time.set(Date(timeIntervalSince1970: 1_800_000_810))
        _ = try await cache.token()
        #expect(server.received.count == 2)
    }

    @Test func identitiesThatNeedMoreThanATokenEndpointAreRefused() throws {
        for environment in [
            ["IDENTITY_ENDPOINT": "http://127.0.0.1:1/", "IMDS_ENDPOINT": "http://127.0.0.1:1"],
            ["IDENTITY_ENDPOINT": "https://h/", "IDENTITY_HEADER": "h", "IDENTITY_SERVER_THUMBPRINT": "t"],
        ] {
            let error = #expect(throws: SystemError.self) { try login(nil, environment: environment) }
            #expect(error?.code == .unsupported)
        }
    }

    @Test func plainHTTPGoesNoFurtherThanTheMachineAndItsLinkLocalService() async throws {
        let environment = ["IDENTITY_ENDPOINT": "http://192.0.2.1/token", "IDENTITY_HEADER": "h"]
        let error = await #expect(throws: SystemError.self) { try await token(nil, environment: environment) }
        #expect(error?.code == .misconfigured)
    }

    @Test(arguments: [
        (
            401, #"{"error":"invalid_client","error_codes":[7000215]}"#, SystemError.Code.unauthorized,
            "value, not its id"
        ),
        (401, #"{"error":"invalid_client","error_codes":[7000222]}"#, .unauthorized, "expired"),
        (400, #"{"error":"unauthorized_client","error_codes":[700016]}"#, .unauthorized, "clientId"),
        (400, #"{"error":"invalid_request","error_codes":[90002]}"#, .unauthorized, "tenantId"),
        (400, #"{"error":"invalid_resource","error_codes":[500011]}"#, .misconfigured, "resource"),
        (400, #"{"error":"CANARY","error_codes":[12345]}"#, .unauthorized, "12345"),
        (400, "<html>CANARY", .unauthorized, ""), (400, #"{"error":"temporarily_unavailable"}"#, .unavailable, ""),
        (403, "CANARY", .forbidden, ""), (404, "CANARY", .notFound, "authorityHost"), (429, "", .rateLimited, ""),
        (500, "CANARY", .unavailable, ""), (302, "", .badAnswer, ""), (200, "CANARY", .badAnswer, ""),
        (200, #"{"access_token":"","expires_in":1}"#, .badAnswer, ""),
        (200, #"{"access_token":"CANARY","expires_in":"soon"}"#, .badAnswer, ""),
    ])
    func refusalsAreToldApart(status: Int, body: String, code: SystemError.Code, words: String) async throws {
        let server = try server { $1.answer(status, body) }
        let error = try #require(
            await #expect(throws: SystemError.self) {
                try await token(application(server), environment: ["S": "CANARY"])
            })
        #expect(error.code == code)
        #expect(words.isEmpty || "\(error)".contains(words))
        #expect(!"\(error)".contains("CANARY"))
        #expect(!error.mayHaveTakenEffect, "a token that nobody got changes nothing")
    }

    @Test func aLoginWithoutAnAnswerHasNoEffect() async throws {
        let server = try TestServer { _, _ in .close }
        let error = await #expect(throws: SystemError.self) {
            try await token(application(server), environment: ["S": "s"])
        }
        #expect(error?.mayHaveTakenEffect == false && error?.disposition == .passing)
    }

    @Test(arguments: [
        (400, SystemError.Code.unauthorized, SystemError.Disposition.permanent), (404, .unavailable, .passing),
        (410, .unavailable, .passing), (429, .rateLimited, .passing), (500, .unavailable, .passing),
        (200, .badAnswer, .passing),
    ])
    func whatTheMetadataServiceRefuses(
        status: Int, code: SystemError.Code, disposition: SystemError.Disposition
    ) async throws {
        let server = try server { $1.answer(status, #"{"error":"CANARY"}"#) }
        let error = try #require(
            await #expect(throws: SystemError.self) {
                try await token(["managedIdentity": .map(["endpoint": .string(server.url())])])
            })
        #expect(error.code == code && error.disposition == disposition && !error.mayHaveTakenEffect)
        #expect(!"\(error)".contains("CANARY"))
    }

    @Test func oneWayToLogInIsEnough() {
        let both: Parameters = ["clientSecret": .map([:]), "managedIdentity": .map([:])]
        #expect(AzureLogin.schema.check(both, [:]).map(\.path) == [["managedIdentity"]])
        #expect(AzureLogin.schema.check(["managedIdentity": .map([:])], [:]).isEmpty)
        #expect(AzureLogin.schema.check([:], [:]).isEmpty)
    }
}
