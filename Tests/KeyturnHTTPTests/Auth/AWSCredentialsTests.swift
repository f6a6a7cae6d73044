import Foundation
import KeyturnCore
import Testing

@testable import KeyturnHTTP

@Suite("AWS credentials")
struct AWSCredentialsTests {
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
        return try await AWSCredentialSource(parameters, environment: all, secrets: EchoResolver()).credentials()
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
        let source = try AWSCredentialSource(
            nil, environment: ["AWS_SHARED_CREDENTIALS_FILE": "/nowhere"], secrets: EchoResolver())
        let error = await #expect(throws: SystemError.self) { try await source.credentials() }
        #expect(error?.message == "no AWS credentials: none in the environment, and /nowhere can't be read")
    }

    @Test(arguments: ["accessKeyId", "secretAccessKey"]) func halfAPairIsRefused(name: String) {
        #expect(throws: SystemError.self) {
            try AWSCredentialSource([name: .secret(.environment("X"))], environment: [:], secrets: EchoResolver())
        }
    }
}
