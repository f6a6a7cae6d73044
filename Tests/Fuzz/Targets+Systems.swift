import Foundation
import KeyturnBackends
import KeyturnCore
import KeyturnIssuers
import KeyturnSystem
import Synchronization
import TestSupport

/// A server that answers with what it is told, over and over.
final class Oracle: Sendable {
    private struct State {
        var answer: [UInt8] = []
        var asked = 0
    }

    private let state = Mutex(State())
    private let server = Mutex<TestServer?>(nil)

    /// Questions about one answer; a client that asks for ever is one that hangs.
    private static let mostQuestions = 40

    func address() throws -> String {
        let server = try TestServer { [self] _, channel in
            let (answer, isTooMuch) = state.withLock { state in
                state.asked += 1
                return (state.answer, state.asked > Self.mostQuestions)
            }
            if isTooMuch { fatalError("a client asks for ever") }
            // The first byte chooses the status.
            let statuses = [200, 200, 200, 200, 400, 403, 404, 429, 500]
            let status = statuses[Int(answer.first ?? 0) % statuses.count]
            let body = answer.dropFirst()
            // In one piece: otherwise the body waits until the head is acknowledged, which takes 40 ms.
            channel.send(Array("HTTP/1.1 \(status) Words\r\nContent-Length: \(body.count)\r\n\r\n".utf8) + body)
            return .keep
        }
        self.server.withLock { $0 = server }
        return "http://127.0.0.1:\(server.port)"
    }

    func answer(_ bytes: [UInt8]) { state.withLock { $0 = State(answer: bytes) } }
}

extension Targets {
    /// The systems that are asked over HTTP, each with the calls of a rotation, all answered by the input.
    static func systems(_ folder: ScratchFolder) throws -> [FuzzTarget] {
        let oracle = Oracle()
        let address = try oracle.address()
        let services = try SystemServices.forTests(
            folder,
            environment: ["TOKEN": "t", "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "s"])
        let words = ["{", "}", "[", "]", "\"", ":", ",", "null", "true", "\\u0000", "\\ud800", "{}"]
        func backend(_ type: String, _ parameters: Parameters) throws -> any Backend {
            guard let kind = BackendRegistry.all.first(where: { $0.description.type == type }) else {
                throw Violation("there is no backend \(type)")
            }
            return try kind.make("fuzzed", parameters, services)
        }
        let vault = try backend(
            "vault-kv2",
            [
                "address": .string(address), "mount": .string("secret"), "field": .string("value"),
                "auth": .map(["token": .secret(.environment("TOKEN"))]),
            ])
        let manager = try backend(
            "aws-secrets-manager", ["region": .string("eu-west-1"), "endpoint": .string(address)])
        let parameters = try backend(
            "aws-ssm-parameter", ["region": .string("eu-west-1"), "endpoint": .string(address)])
        let actions = try backend(
            "github-actions-secret", ["address": .string(address), "token": .secret(.environment("TOKEN"))])
        guard let iamType = IssuerRegistry.all.first(where: { $0.description.type == "aws-iam-access-key" }) else {
            throw Violation("there is no issuer of AWS")
        }
        let iam = try iamType.make("iam", ["region": .string("eu-west-1"), "endpoint": .string(address)], services)
        let others =
            try azure(oracle, address, services, words) + kubernetes(oracle, address, services, folder, words)
            + google(oracle, address, folder, words) + self.services(oracle, address, services, words)
        return others + [
            FuzzTarget("vault-answer", words: words + ["\"data\":", "\"metadata\":", "\"version\":"], share: 0.05) {
                bytes in
                oracle.answer(bytes)
                try await drive(vault)
            },
            FuzzTarget(
                "secrets-manager-answer", words: words + ["\"SecretString\":", "\"VersionIdsToStages\":"], share: 0.05
            ) { bytes in
                oracle.answer(bytes)
                try await drive(manager)
            },
            FuzzTarget(
                "parameter-store-answer", words: words + ["\"Parameter\":", "\"Value\":", "\"Version\":1"],
                share: 0.05
            ) { bytes in
                oracle.answer(bytes)
                try await drive(parameters, at: "/team/key")
            },
            FuzzTarget(
                "github-answer",
                words: words + [
                    "\"key\":", "\"key_id\":", "\"updated_at\":", "\"value\":", "\"visibility\":\"selected\"",
                ],
                share: 0.05
            ) { bytes in
                oracle.answer(bytes)
                try await drive(actions, at: "octo/app#KEY")
                try await drive(actions, at: "octo#KEY")
            },
            FuzzTarget(
                "iam-answer", words: ["<", ">", "</", "<AccessKey>", "<AccessKeyId>", "&", "<Error>", "<Code>"],
                share: 0.05
            ) { bytes in
                oracle.answer(bytes)
                try await drive(iam)
            },
        ]
    }

    static func silently(_ body: () async throws -> Void) async throws {
        do { try await body() } catch let violation as Violation { throw violation } catch { try requireSilent(error) }
    }

    static func drive(_ backend: any Backend, at path: String = "team/key") async throws {
        let name = try SecretName("team/key")
        let target = BackendTarget(backend: "fuzzed", path: path)
        let old = VersionReference(secret: name, version: 1, receipt: [:], value: SecretValue(utf8: "old"))
        let write = VersionWrite(
            secret: name, version: 2, value: SecretValue(utf8: "new"), receipt: [:], replaces: old, instance: "i",
            generation: 1, expiresAt: nil, mayOverwrite: false)
        try await silently { _ = try await backend.read(.current, at: target) }
        try await silently { _ = try await backend.stage(write, at: target) }
        try await silently { _ = try await backend.promote(write, at: target) }
        try await silently { _ = try await backend.list(at: target) }
        try await silently { try await backend.prune(old, at: target) }
        try await silently { try await backend.probe(target) }
    }

    private static func drive(_ issuer: any Issuer) async throws {
        let request = IssueRequest(
            lineage: Lineage(
                secret: try SecretName("team/key"), version: 2, nonce: String(repeating: "0", count: 32)),
            parameters: ["user": .string("u")], lifetime: 86_400,
            intendedAt: Date(timeIntervalSince1970: 1_800_000_000),
            knownKeyIDs: [])
        try await silently {
            let key = try await issuer.issue(request, prepared: IssuePreparation())
            guard let secret = key.material.fields["secretAccessKey"] else {
                throw Violation("a key without its secret")
            }
            let parts = try? JSONDecoder().decode([String: String].self, from: Data(key.material.value.exposedBytes()))
            try require(parts?["secretAccessKey"] == secret.exposedText(), "an access key broke its own JSON")
        }
        try await silently { _ = try await issuer.resolve(request, prepared: IssuePreparation()) }
        let handle = KeyHandle(
            secret: request.lineage.secret, version: 2, keyID: "AKIAEXAMPLE", material: nil,
            parameters: request.parameters)
        try await silently { try await issuer.revoke(handle) }
    }
}
