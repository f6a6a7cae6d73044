import Foundation
import KeyturnBackends
import KeyturnCore
import KeyturnHTTP
import KeyturnIssuers
import KeyturnSystem
import TestSupport

extension Targets {
    /// Google's systems. A token is given out by a server that is well, but for the target that asks for one.
    static func google(
        _ oracle: Oracle, _ address: String, _ folder: ScratchFolder, _ words: [String]
    ) throws -> [FuzzTarget] {
        let tokens = try TestServer { _, channel in
            channel.answer(200, #"{"access_token":"t","expires_in":3599}"#)
            return .keep
        }
        let key = FakeGoogleTokens.key(0, email: FakeGoogleTokens.email)
        let services = try SystemServices.forTests(folder, environment: ["KEY": key.file])
        @Sendable func login(_ host: String) -> ParameterValue {
            .map(["serviceAccountKey": .secret(.environment("KEY")), "tokenEndpoint": .string("\(host)/token")])
        }
        guard let managerType = BackendRegistry.all.first(where: { $0.description.type == "gcp-secret-manager" }),
            let keysType = IssuerRegistry.all.first(where: { $0.description.type == "gcp-service-account-key" })
        else { throw Violation("there is no Google") }
        @Sendable func manager(_ host: String, _ more: Parameters = [:]) throws -> any Backend {
            let own: Parameters = [
                "project": .string("p"), "endpoint": .string(address), "auth": login(host),
                "changesPerSecond": .integer(1000),
            ]
            return try managerType.make("fuzzed", own.merging(more) { $1 }, services)
        }
        let latest = try manager(tokens.url(""))
        let alias = try manager(tokens.url(""), ["alias": .string("current")])
        let keys = try keysType.make(
            "fuzzed", ["endpoint": .string(address), "auth": login(tokens.url(""))], services)
        let more = [
            "\"name\":\"a/1\"", "\"payload\":", "\"dataCrc32c\":", "\"versions\":", "\"state\":\"ENABLED\"",
            "\"etag\":",
            "\"annotations\":", "\"versionAliases\":", "\"nextPageToken\":", "\"details\":", "FAILED_PRECONDITION",
            "\"keyturn-version-1\":\"team/key 1 1 i\"",
        ]
        return [
            FuzzTarget("gcp-secret-manager-answer", words: words + more, share: 0.05) { [tokens] bytes in
                _ = tokens
                oracle.answer(bytes)
                try await drive(latest, at: "team-key")
                try await drive(alias, at: "team-key")
            },
            // A login of its own each time: a token that came by chance would be kept.
            FuzzTarget("google-token-answer", words: words + ["\"access_token\":", "\"expires_in\":"], share: 0.02) {
                bytes in
                let asking = try manager(address)
                oracle.answer(bytes)
                try await silently { try await asking.probe(BackendTarget(backend: "fuzzed", path: "team-key")) }
            },
            FuzzTarget(
                "gcp-keys-answer",
                words: words + ["\"keys\":", "\"privateKeyData\":", "\"validAfterTime\":", "\"disabled\":"], share: 0.05
            ) { bytes in
                oracle.answer(bytes)
                try await drive(keys, ["account": .string(FakeGoogleTokens.email)])
            },
            FuzzTarget(
                "service-account-key",
                words: words + ["\"type\":\"service_account\"", "\"private_key\":", "-----BEGIN PRIVATE KEY-----"],
                share: 0.05
            ) { bytes in
                try await silently {
                    let read = try ServiceAccountKey(SecretValue(bytes))
                    try require(!read.clientEmail.isEmpty && !read.keyID.isEmpty, "a key file without an account")
                    _ = try read.assertion(scope: "s", at: Date(timeIntervalSince1970: 1_800_000_000))
                }
                guard let reader = keys as? any ReadsDownloadedKeys else { throw Violation("no key can be taken over") }
                try await silently { _ = try reader.read(SecretValue(bytes), now: Date(timeIntervalSince1970: 0)) }
            },
        ]
    }
}
