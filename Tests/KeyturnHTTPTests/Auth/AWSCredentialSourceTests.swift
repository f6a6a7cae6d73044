import Foundation
import KeyturnCore
import TestSupport
import Testing

@testable import KeyturnHTTP

@Suite("AWS credentials")
struct AWSCredentialSourceTests {
    private let time = ManualTimekeeper(startingAt: Date(timeIntervalSince1970: 1_800_000_000))

    /// Knows references to the environment alone, by the name itself.
    private struct EchoResolver: SecretResolver {
        func resolve(_ reference: SecretReference) async throws(SystemError) -> SecretValue {
            guard case .environment(let name) = reference else { throw SystemError(.misconfigured, "not here") }
            return SecretValue(utf8: "value of \(name)")
        }
    }

    private static let file = """
        # comment
        ; comment
        stray = outside
        [default]
        aws_access_key_id = AKDEFAULT
        aws_secret_access_key=k/e+y==
        [ team ]
          AWS_ACCESS_KEY_ID =AKTEAM
        aws_secret_access_key = team = key
        aws_session_token = token

        [half]
        aws_access_key_id = AKHALF
        """

    private func credentials(
        _ parameters: Parameters?, _ environment: [String: String] = [:], file: String = file
    ) async throws -> AWSCredentials {
        let path = FileManager.default.temporaryDirectory.appending(path: "keyturn-aws-\(UUID().uuidString)")
        try Data(file.utf8).write(to: path)
        defer { try? FileManager.default.removeItem(at: path) }
        let all = environment.merging(["AWS_SHARED_CREDENTIALS_FILE": path.path(percentEncoded: false)]) { own, _ in own
        }
        return try await source(parameters, all).credentials()
    }

    /// Of a machine that gives out nothing, unless the environment says so.
    private func source(_ parameters: Parameters?, _ environment: [String: String]) throws -> AWSCredentialSource {
        let all = environment.merging(["AWS_EC2_METADATA_DISABLED": "true"]) { own, _ in own }
        return try AWSCredentialSource(
            parameters,
            AWSCredentialSource.Services(
                environment: all, secrets: EchoResolver(), http: try HTTPClient(userAgent: "keyturn-test/1"),
                time: time,
                tls: TLSSettings(), timeout: 5, region: "eu-west-1"))
    }

    @Test func theSharedFileIsReadAsItsVendorReadsIt() {
        let sections = SharedCredentialsFile.sections(Self.file)
        #expect(sections.keys.sorted() == ["default", "half", "team"])
        #expect(sections["default"] == ["aws_access_key_id": "AKDEFAULT", "aws_secret_access_key": "k/e+y=="])
        #expect(
            sections["team"] == [
                "aws_access_key_id": "AKTEAM", "aws_secret_access_key": "team = key", "aws_session_token": "token",
            ])
        #expect(SharedCredentialsFile.sections("").isEmpty)
        #expect(SharedCredentialsFile.sections("a = b\n[open\nc = d").isEmpty)
        #expect(SharedCredentialsFile.sections("[w]\r\na = b\r\n") == ["w": ["a": "b"]])
    }

    @Test func referencesGoFirst() async throws {
        let found = try await credentials(
            ["accessKeyId": .secret(.environment("ID")), "secretAccessKey": .secret(.environment("KEY"))],
            ["AWS_ACCESS_KEY_ID": "AKENV", "AWS_SECRET_ACCESS_KEY": "envkey"])
        #expect(found.accessKeyID == "value of ID")
        #expect(found.secretAccessKey.exposedText() == "value of KEY")
        #expect(found.sessionToken == nil)
    }

    @Test func thenTheEnvironmentThenTheFile() async throws {
        let environment = ["AWS_ACCESS_KEY_ID": "AKENV", "AWS_SECRET_ACCESS_KEY": "envkey", "AWS_SESSION_TOKEN": "t"]
        let first = try await credentials(nil, environment)
        #expect(first.accessKeyID == "AKENV" && first.sessionToken?.exposedText() == "t")
        #expect(try await credentials(nil).accessKeyID == "AKDEFAULT")
        #expect(try await credentials(nil, ["AWS_PROFILE": "team"]).accessKeyID == "AKTEAM")
        #expect(
            try await credentials(nil, ["AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""]).accessKeyID
                == "AKDEFAULT")
        let named = try await credentials(["profile": .string("team")], environment)
        #expect(named.accessKeyID == "AKTEAM" && named.sessionToken?.exposedText() == "token")
    }

    @Test func whatIsMissingIsSaid() async throws {
        for profile in ["half", "absent"] {
            let error = await #expect(throws: SystemError.self) {
                try await credentials(["profile": .string(profile)])
            }
            #expect(error?.code == .misconfigured)
            #expect(error?.message.hasPrefix("profile '\(profile)' in ") == true)
            #expect(error?.message.contains("AKHALF") == false)
        }
        let source = try source(nil, ["AWS_SHARED_CREDENTIALS_FILE": "/nowhere"])
        let error = await #expect(throws: SystemError.self) { try await source.credentials() }
        #expect(error?.message == "no AWS credentials: none in the environment, and /nowhere has none")
    }

    @Test(arguments: ["accessKeyId", "secretAccessKey"]) func halfAPairIsRefused(name: String) {
        #expect(throws: SystemError.self) { try source([name: .secret(.environment("X"))], [:]) }
    }

    // MARK: Roles and machines

    private static func sts(_ action: String, _ id: String, until: String = "2027-01-15T09:00:00Z") -> String {
        """
        <\(action)Response xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><\(action)Result><Credentials>\
        <AccessKeyId>\(id)</AccessKeyId><SecretAccessKey>role/key+</SecretAccessKey>\
        <SessionToken>role-token</SessionToken><Expiration>\(until)</Expiration></Credentials></\(action)Result>\
        </\(action)Response>
        """
    }

    private func form(_ request: TestServer.Received) -> [String: String] {
        var fields: [String: String] = [:]
        for pair in String(decoding: request.body, as: UTF8.self).split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1).map(String.init)
            fields[parts.first ?? ""] = parts.last?.removingPercentEncoding
        }
        return fields
    }

    @Test func aRoleIsTakenOnOnceForAsLongAsItIsGood() async throws {
        let server = try TestServer { _, channel in
            channel.answer(200, Self.sts("AssumeRole", "ASROLE"))
            return .keep
        }
        let source = try source(
            [
                "accessKeyId": .secret(.environment("ID")), "secretAccessKey": .secret(.environment("KEY")),
                "stsEndpoint": .string(server.url("/")),
                "assumeRole": .map([
                    "roleArn": .string("arn:aws:iam::123456789012:role/turn"), "externalId": .string("ext&=1"),
                    "duration": .integer(900),
                ]),
            ], [:])
        for _ in 0..<3 {
            let found = try await source.credentials()
            #expect(found.accessKeyID == "ASROLE" && found.sessionToken?.exposedText() == "role-token")
        }
        #expect(server.received.count == 1)
        let request = try #require(server.received.first)
        #expect(
            form(request) == [
                "Action": "AssumeRole", "Version": "2011-06-15", "RoleArn": "arn:aws:iam::123456789012:role/turn",
                "RoleSessionName": "keyturn", "ExternalId": "ext&=1", "DurationSeconds": "900",
            ])
        #expect(request.all("authorization").first?.contains("Credential=value of ID/") == true)
        // 2027-01-15T09:00:00Z is an hour after the start; another is asked for before that.
        time.set(Date(timeIntervalSince1970: 1_800_000_000 + 3_000))
        _ = try await source.credentials()
        #expect(server.received.count == 2)
    }

    @Test func aWebIdentityIsReadAnewAndNotSigned() async throws {
        let server = try TestServer { _, channel in
            channel.answer(200, Self.sts("AssumeRoleWithWebIdentity", "ASWEB", until: "2027-01-15T08:00:10Z"))
            return .keep
        }
        let folder = try ScratchFolder()
        let file = folder.path + "/token"
        try Data("first\n".utf8).write(to: URL(filePath: file))
        let source = try source(
            nil,
            [
                "AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/web", "AWS_WEB_IDENTITY_TOKEN_FILE": file,
                "AWS_ENDPOINT_URL_STS": server.url("/"), "AWS_ROLE_SESSION_NAME": "pod",
                "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
            ])
        #expect(try await source.credentials().accessKeyID == "ASWEB")
        try Data("second".utf8).write(to: URL(filePath: file))
        time.set(Date(timeIntervalSince1970: 1_800_000_000 + 9))
        _ = try await source.credentials()
        #expect(server.received.map { form($0)["WebIdentityToken"] } == ["first", "second"])
        #expect(
            server.received.allSatisfy { form($0)["RoleSessionName"] == "pod" && $0.all("authorization").first == nil })
        try FileManager.default.removeItem(atPath: file)
        time.set(Date(timeIntervalSince1970: 1_800_000_000 + 60))
        let error = await #expect(throws: SystemError.self) { try await source.credentials() }
        #expect(error?.code == .misconfigured)
    }

    @Test(arguments: [
        (400, "IDPCommunicationError", SystemError.Code.unavailable), (400, "ExpiredTokenException", .unauthorized),
        (403, "AccessDenied", .forbidden), (400, "ValidationError", .misconfigured), (500, "", .unavailable),
    ]) func whatStsRefuses(status: Int, code: String, expected: SystemError.Code) async throws {
        let server = try TestServer { _, channel in
            channel.answer(status, "<ErrorResponse><Error><Code>\(code)</Code></Error></ErrorResponse>")
            return .keep
        }
        let source = try source(
            [
                "accessKeyId": .secret(.environment("ID")), "secretAccessKey": .secret(.environment("KEY")),
                "stsEndpoint": .string(server.url("/")),
                "assumeRole": .map(["roleArn": .string("arn:aws:iam::123456789012:role/turn")]),
            ], [:])
        let error = await #expect(throws: SystemError.self) { try await source.credentials() }
        #expect(error?.code == expected)
        #expect(error?.mayHaveTakenEffect == false)
    }

    private static let granted =
        #"{"Code":"Success","AccessKeyId":"ASBOX","SecretAccessKey":"k","Token":"t","Expiration":"2027-01-15T12:00:00Z"}"#

    @Test func aContainerAsksTheAddressOfItsEnvironment() async throws {
        let server = try TestServer { _, channel in
            channel.answer(200, Self.granted)
            return .keep
        }
        let folder = try ScratchFolder()
        try Data("pod-token\n".utf8).write(to: URL(filePath: folder.path + "/token"))
        let environment = [
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": server.url("/v1/credentials"),
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": folder.path + "/token", "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
        ]
        let source = try source(nil, environment)
        for _ in 0..<2 { #expect(try await source.credentials().accessKeyID == "ASBOX") }
        #expect(server.received.map { $0.all("authorization").first } == ["pod-token"])
        // A key in the environment goes before.
        let own = environment.merging(["AWS_ACCESS_KEY_ID": "AKENV", "AWS_SECRET_ACCESS_KEY": "k"]) { first, _ in first
        }
        #expect(try await self.source(nil, own).credentials().accessKeyID == "AKENV")
    }

    @Test func aContainersAddressMayNotLeadAwayInPlainText() async throws {
        let source = try source(
            nil,
            [
                "AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://192.0.2.1/credentials",
                "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
            ])
        let error = await #expect(throws: SystemError.self) { try await source.credentials() }
        #expect(error?.code == .misconfigured)
    }

    @Test func anInstanceIsAskedWithAToken() async throws {
        let server = try TestServer { request, channel in
            switch (request.method, request.target, request.all("x-aws-ec2-metadata-token").first) {
            case ("PUT", "/latest/api/token", nil): channel.answer(200, "session")
            case ("GET", "/latest/meta-data/iam/security-credentials/", "session"?): channel.answer(200, "turn")
            case ("GET", "/latest/meta-data/iam/security-credentials/turn", "session"?):
                channel.answer(200, Self.granted)
            default: channel.answer(401, "")
            }
            return .keep
        }
        let environment = [
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": server.url(""), "AWS_EC2_METADATA_DISABLED": "false",
            "AWS_SHARED_CREDENTIALS_FILE": "/nowhere",
        ]
        let source = try source(nil, environment)
        #expect(try await source.credentials().accessKeyID == "ASBOX")
        #expect(server.received.count == 3)
        // Where nothing answers, that is what is said.
        let elsewhere = try self.source(
            nil, environment.merging(["AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:9"]) { $1 })
        let error = await #expect(throws: SystemError.self) { try await elsewhere.credentials() }
        #expect(error?.code == .misconfigured)
        #expect(error?.message.contains("and this machine gives out none: ") == true)
    }
}
