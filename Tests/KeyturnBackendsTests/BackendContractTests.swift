import Age
import Foundation
import KeyturnBackends
import KeyturnCore
import KeyturnSystem
import TestSupport
import Testing

@Suite("The contract of backends")
struct BackendContractTests {
    private let folder: ScratchFolder

    init() throws { folder = try ScratchFolder() }

    @Test(arguments: BackendContract.checks)
    func theFileVaultKeepsIt(check: ContractCheck<BackendSubject>) async throws {
        let vault = try TestVault(folder)
        try await check.run(
            BackendSubject(
                vault.backend, at: BackendTarget(backend: "vault", path: "team/key"),
                consumed: { try vault.consumed("team/key") }, overwrite: { try vault.overwrite("team/key", with: $0) }))
    }

    @Test(arguments: BackendContract.checks)
    func filesKeepIt(check: ContractCheck<BackendSubject>) async throws {
        let type = try #require(BackendRegistry.all.first { $0.description.type == "file" })
        let backend = try type.make("files", ["directory": .string(folder.path)], try .forTests(folder))
        try await check.run(
            BackendSubject(
                backend, at: BackendTarget(backend: "files", path: "app/key", parameters: ["mode": .string("0640")]),
                consumed: { [folder] in folder.read("app/key") },
                overwrite: { [folder] text in try folder.write(text, to: "app/key") }))
    }

    @Test(arguments: BackendContract.checks, [true, false])
    func programsKeepIt(check: ContractCheck<BackendSubject>, stages: Bool) async throws {
        let type = try #require(BackendRegistry.all.first { $0.description.type == "command" })
        let script = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Fixtures/store.py")
        let backend = try type.make(
            "program",
            [
                "run": .list(["python3", script.path(percentEncoded: false), folder.path].map(ParameterValue.string)),
                "stages": .boolean(stages), "readsBack": .boolean(true),
            ], try .forTests(folder))
        try await check.run(
            BackendSubject(
                backend, at: BackendTarget(backend: "program", path: "team/key"),
                consumed: { [folder] in folder.read("team%key/current") },
                overwrite: { [folder] text in try folder.write(text, to: "team%key/current") }))
    }

    @Test(arguments: BackendContract.checks, [BackendTraits.Staging.unseen, .onPromote])
    func theSimulatedOnesKeepIt(check: ContractCheck<BackendSubject>, staging: BackendTraits.Staging) async throws {
        let backend = SimulatedBackend("simulated", staging: staging)
        try await check.run(
            BackendSubject(
                backend, at: BackendTarget(backend: "simulated", path: "team/key"),
                consumed: { backend.consumed("team/key") }, overwrite: { backend.overwrite("team/key", with: $0) }))
    }
}

/// A file vault with an identity of its own.
struct TestVault: Sendable {
    let backend: any Backend
    let identity = X25519Identity()
    let folder: ScratchFolder

    init(_ folder: ScratchFolder, recipients: [X25519Recipient] = []) throws {
        self.folder = folder
        let file = try folder.write(
            IdentityFile.content(identity, created: "2027-01-01T00:00:00Z"), to: "identity.txt")
        let type = try #require(BackendRegistry.all.first { $0.description.type == "file-vault" })
        let all = [identity.recipient] + recipients
        backend = try type.make(
            "vault",
            [
                "directory": .string(folder.path("vault")),
                "recipients": .list(all.map { .string($0.text) }),
            ], try .forTests(folder, identityPath: file))
    }

    /// Opens what `current` leads to, as a consumer with the stock command does.
    func consumed(_ path: String) throws -> String? {
        guard let data = FileManager.default.contents(atPath: folder.path("vault/\(path)/current")) else { return nil }
        return String(decoding: try AgeFile.decrypt(Array(data), with: [identity]), as: UTF8.self)
    }

    func overwrite(_ path: String, with text: String) throws {
        let file = try AgeFile.encrypt(Array(text.utf8), to: [identity.recipient])
        try folder.write(file, to: "vault/\(path)/900.age")
        try AtomicFile.link(folder.path("vault/\(path)/current"), to: "900.age")
    }
}
