import Foundation
import KeyturnCore
import KeyturnIssuers
import TestSupport
import Testing

@Suite("The contract of issuers")
struct IssuerContractTests {
    private let folder: ScratchFolder

    init() throws { folder = try ScratchFolder() }

    private func make(_ type: String, _ parameters: Parameters) throws -> any Issuer {
        let type = try #require(IssuerRegistry.all.first { $0.description.type == type })
        return try type.make("name", parameters, try .forTests(folder))
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
}
