import Foundation
import KeyturnCore
import KeyturnIssuers
import TestSupport
import Testing

@Suite("The contract of issuers")
struct IssuerContractTests {
    private let folder: ScratchFolder

    init() throws { folder = try ScratchFolder() }

    private func make(
        _ type: String, _ parameters: Parameters, environment: [String: String] = [:]
    ) throws -> any Issuer {
        let type = try #require(IssuerRegistry.all.first { $0.description.type == type })
        return try type.make("name", parameters, try .forTests(folder, environment: environment))
    }

    @Test(arguments: IssuerContract.checks, ["password", "hex", "base64url", "uuid", "ed25519", "p256"])
    func theRandomOneKeepsIt(check: ContractCheck<IssuerSubject>, format: String) async throws {
        try await check.run(IssuerSubject(try make("random", ["format": .string(format)])))
    }

    @Test(arguments: IssuerContract.checks, ["listable", "unlistable"])
    func programsKeepIt(check: ContractCheck<IssuerSubject>, kind: String) async throws {
        let script = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Fixtures/maker.py")
        let words = ["python3", script.path(percentEncoded: false), folder.path("keys.json")]
        try await check.run(
            IssuerSubject(
                try make(
                    "command",
                    [
                        "run": .list(words.map(ParameterValue.string)), "kind": .string(kind),
                        "disables": .boolean(true), "reportsLastUse": .boolean(true),
                    ]), parameters: ["parameters": .map(["role": .string("reader")])]))
    }

    @Test(arguments: IssuerContract.checks, [IssuerKind.chosen, .listable, .unlistable])
    func theSimulatedOnesKeepIt(check: ContractCheck<IssuerSubject>, kind: IssuerKind) async throws {
        let time = ManualTimekeeper(startingAt: Date(timeIntervalSince1970: 1_800_000_000))
        try await check.run(IssuerSubject(SimulatedIssuer(kind: kind, time: time)))
    }

    // MARK: Real servers

    /// A server of `Tests/PeerTests/peers/live.py`, which several tests share.
    private struct LiveServer: Sendable {
        let process: PeerProcess
        let places: [String: String]

        init(_ kind: String) throws {
            process = try PeerProcess(["peers.live", kind])
            places = try process.hear([String: String].self)
        }

        /// Roles or users whose keys nobody else turns over.
        func users() throws -> [String] {
            try #require(process.ask("subject", for: [String: [String]].self)["users"])
        }
    }

    private static let postgresql = Result { try LiveServer("postgresql") }
    private static let redis = Result { try LiveServer("redis") }
    private static let aws = Result { try LiveServer("aws") }

    @Test(arguments: IssuerContract.checks) func rolesOfPostgreSQLKeepIt(
        check: ContractCheck<IssuerSubject>
    ) async throws {
        let server = try Self.postgresql.get()
        let issuer = try make(
            "postgresql-role",
            [
                "host": .string("127.0.0.1"), "port": .integer(Int(server.places["port"] ?? "") ?? 0),
                "database": .string("postgres"), "user": .string("keyturn"), "password": .secret(.environment("OWN")),
                "sslMode": .string("verify-full"), "caFile": .string(server.places["caFile"] ?? ""),
            ], environment: ["OWN": server.places["keyturn"] ?? ""])
        try await check.run(
            IssuerSubject(issuer, parameters: ["users": .list(try server.users().map(ParameterValue.string))]))
    }

    @Test(arguments: IssuerContract.checks) func usersOfRedisKeepIt(check: ContractCheck<IssuerSubject>) async throws {
        let server = try Self.redis.get()
        let issuer = try make(
            "redis-acl",
            [
                "addresses": .list([.string(server.places["address"] ?? "")]),
                "password": .secret(.environment("OWN")), "caFile": .string(server.places["caFile"] ?? ""),
            ], environment: ["OWN": server.places["keyturn"] ?? ""])
        let user = try #require(server.users().first)
        try await check.run(IssuerSubject(issuer, parameters: ["user": .string(user)]))
    }

    /// Access keys carry no lineage: which of two is ours, a list from before tells, which the peer tests show. The emulator
    /// serves keys that are switched off, too.
    private static let ofIAM = IssuerContract.checks.filter { check in
        !check.name.contains("lineage") && !check.name.contains("switched off")
    }

    @Test(arguments: ofIAM) func keysOfIAMKeepIt(check: ContractCheck<IssuerSubject>) async throws {
        #expect(Self.ofIAM.count == IssuerContract.checks.count - 3)
        let server = try Self.aws.get()
        let issuer = try make(
            "aws-iam-access-key",
            [
                "region": .string("eu-west-1"), "endpoint": .string(server.places["address"] ?? ""),
                "credentials": .map([
                    "accessKeyId": .secret(.environment("ID")), "secretAccessKey": .secret(.environment("OWN")),
                ]),
            ], environment: ["ID": server.places["keyId"] ?? "", "OWN": server.places["keyturn"] ?? ""])
        let user = try #require(server.users().first)
        try await check.run(IssuerSubject(issuer, parameters: ["user": .string(user)]))
    }
}
