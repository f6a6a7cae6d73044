import Age
import Foundation
import KeyturnBackends
import KeyturnCore
import TestSupport
import Testing

@Suite("The file vault")
struct FileVaultTests {
    private let folder: ScratchFolder
    private let target = BackendTarget(backend: "vault", path: "team/key")

    init() throws { folder = try ScratchFolder() }

    private func write(_ version: Int, _ text: String, replacing old: (Int, String)? = nil) throws -> VersionWrite {
        let name = try SecretName("team/key")
        return VersionWrite(
            secret: name, version: version, value: SecretValue(utf8: text), receipt: [:],
            replaces: old.map {
                VersionReference(secret: name, version: $0.0, receipt: [:], value: SecretValue(utf8: $0.1))
            }, instance: "i", generation: 1, expiresAt: nil, mayOverwrite: false)
    }

    @Test func oneFileAVersionAndALinkToTheCurrentOne() async throws {
        let vault = try TestVault(folder)
        _ = try await vault.backend.promote(try write(1, "one"), at: target)
        _ = try await vault.backend.promote(try write(2, "two", replacing: (1, "one")), at: target)
        _ = try await vault.backend.stage(try write(3, "three"), at: target)
        let names = folder.names.filter { $0.hasPrefix("vault") }
        #expect(
            names == [
                "vault", "vault/.lock", "vault/team", "vault/team/key", "vault/team/key/.keyturn.json",
                "vault/team/key/1.age", "vault/team/key/2.age", "vault/team/key/3.age", "vault/team/key/current",
            ])
        #expect(
            try FileManager.default.destinationOfSymbolicLink(atPath: folder.path("vault/team/key/current")) == "2.age")
        for name in names where !folder.isLink(name) {
            let isFile = [".age", ".lock", ".json"].contains { name.hasSuffix($0) }
            #expect(folder.mode(name) == (isFile ? 0o600 : 0o700), "\(name)")
        }
        let inside = FileVault(directory: folder.path("vault"))
        #expect(inside.secrets() == ["team/key"])
        #expect(try inside.versions("team/key") == [1, 2, 3])
        #expect(try inside.currentVersion("team/key") == 2)
        #expect(try inside.currentVersion("team/none") == nil)
    }

    @Test func aVersionIsNeverOverwrittenWithAnotherValue() async throws {
        let vault = try TestVault(folder)
        _ = try await vault.backend.stage(try write(1, "one"), at: target)
        await #expect(throws: SystemError.self) {
            _ = try await vault.backend.stage(try write(1, "another"), at: target)
        }
        _ = try await vault.backend.stage(try write(1, "one"), at: target)
        _ = try await vault.backend.promote(try write(1, "one"), at: target)
        #expect(try await vault.backend.read(.current, at: target)?.value.exposedText() == "one")
    }

    @Test func theMarkIsOfWhatIsCurrent() async throws {
        let vault = try TestVault(folder)
        let name = try SecretName("team/key")
        func mark() async throws -> WriteMark? {
            try await vault.backend.mark(of: name, instance: "i", at: target)
        }
        #expect(try await mark() == nil)
        _ = try await vault.backend.promote(try write(1, "one"), at: target)
        #expect(try await mark() == WriteMark(instance: "i", generation: 1, version: 1))
        _ = try await vault.backend.stage(try write(2, "two"), at: target)
        #expect(try await mark()?.version == 1)
        // Moved by hand: the mark is of another version.
        let link = folder.path("vault/team/key/current")
        try FileManager.default.removeItem(atPath: link)
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: "2.age")
        #expect(try await mark() == nil)
        try Data("no JSON".utf8).write(to: URL(filePath: folder.path("vault/team/key/.keyturn.json")))
        #expect(try await mark() == nil)
    }

    @Test func everyRecipientCanOpenIt() async throws {
        let other = X25519Identity()
        let vault = try TestVault(folder, recipients: [other.recipient])
        _ = try await vault.backend.promote(try write(1, "CANARY"), at: target)
        let data = try Data(contentsOf: URL(filePath: folder.path("vault/team/key/1.age")))
        #expect(try AgeFile.decrypt(Array(data), with: [other]) == Array("CANARY".utf8))
        #expect(data.firstRange(of: Data("CANARY".utf8)) == nil)
    }

    @Test func leftoversOfACrashAreSwept() async throws {
        let vault = try TestVault(folder)
        try folder.write("half", to: "vault/team/key/.keyturn-tmp-1")
        _ = try await vault.backend.stage(try write(1, "one"), at: target)
        #expect(folder.read("vault/team/key/.keyturn-tmp-1") == nil)
    }

    @Test func aFileThatWasChangedIsNotBelieved() async throws {
        let vault = try TestVault(folder)
        _ = try await vault.backend.promote(try write(1, "one"), at: target)
        var bytes = Array(try Data(contentsOf: URL(filePath: folder.path("vault/team/key/1.age"))))
        bytes[bytes.count - 1] ^= 1
        try folder.write(bytes, to: "vault/team/key/1.age")
        let error = await #expect(throws: SystemError.self) { try await vault.backend.read(.current, at: target) }
        #expect(error?.code == .badAnswer && error?.disposition == .permanent)
    }

    @Test(arguments: ["../out", "a/../../b", ".hidden", "/etc/x", "A", ""])
    func noPathLeadsOutOfIt(path: String) async throws {
        let vault = try TestVault(folder)
        let outside = BackendTarget(backend: "vault", path: path)
        let error = await #expect(throws: SystemError.self) {
            try await vault.backend.promote(try write(1, "x"), at: outside)
        }
        #expect(error?.code == .misconfigured)
        #expect(folder.names.allSatisfy { $0.hasPrefix("vault") || $0 == "identity.txt" })
    }

    @Test func manyWritersLeaveOneCurrentVersionAndNoLeftovers() async throws {
        let vault = try TestVault(folder)
        let backend = vault.backend
        await withTaskGroup(of: Void.self) { group in
            for number in 1...20 {
                let target = BackendTarget(backend: "vault", path: "team/key-\(number % 4)")
                if let write = try? write(1, "same") {
                    group.addTask { _ = try? await backend.promote(write, at: target) }
                }
            }
        }
        for number in 0..<4 { #expect(try vault.consumed("team/key-\(number)") == "same") }
        #expect(!folder.names.contains { $0.contains("keyturn-tmp") })
    }

    @Test func withoutAnIdentityItCanNotRead() async throws {
        let type = try #require(BackendRegistry.all.first { $0.description.type == "file-vault" })
        let backend = try type.make(
            "vault",
            [
                "directory": .string(folder.path("vault")),
                "recipients": .list([.string(X25519Identity().recipient.text)]),
            ], try .forTests(folder))
        let error = await #expect(throws: SystemError.self) { try await backend.probe(target) }
        #expect(error?.code == .misconfigured)
    }

    @Test func aWrongRecipientIsSaidWhenItIsMade() throws {
        let type = try #require(BackendRegistry.all.first { $0.description.type == "file-vault" })
        let error = #expect(throws: SystemError.self) {
            try type.make(
                "vault", ["directory": .string("v"), "recipients": .list([.string("age1nonsense")])],
                try .forTests(folder))
        }
        #expect(error?.code == .misconfigured)
    }
}

@Suite("Plain files and programs as backends")
struct FileAndCommandBackendTests {
    private let folder: ScratchFolder

    init() throws { folder = try ScratchFolder() }

    private func backend(_ type: String, _ parameters: Parameters) throws -> any Backend {
        let type = try #require(BackendRegistry.all.first { $0.description.type == type })
        return try type.make("name", parameters, try .forTests(folder))
    }

    private func write(_ text: String) throws -> VersionWrite {
        VersionWrite(
            secret: try SecretName("team/key"), version: 1, value: SecretValue(utf8: text), receipt: [:], replaces: nil,
            instance: "i", generation: 1, expiresAt: nil, mayOverwrite: false)
    }

    @Test func aFileHasItsModeAndItsReload() async throws {
        let files = try backend("file", ["directory": .string(folder.path("out"))])
        let target = BackendTarget(
            backend: "files", path: "app/key.env",
            parameters: [
                "mode": .string("0440"),
                "reload": .list(["sh", "-c", "cat out/app/key.env >> reloaded"].map(ParameterValue.string)),
            ])
        _ = try await files.promote(try write("KEY=1"), at: target)
        _ = try await files.promote(try write("KEY=1"), at: target)
        #expect(folder.mode("out/app/key.env") == 0o440)
        #expect(folder.mode("out/app") == 0o750, "who may read the file may reach it")
        #expect(folder.read("reloaded") == "KEY=1KEY=1", "the answer to the first reload may have been lost")
    }

    @Test func aReloadThatFailsIsAPassingError() async throws {
        let files = try backend("file", ["directory": .string(folder.path("out"))])
        let target = BackendTarget(
            backend: "files", path: "key", parameters: ["reload": .list([.string("false")])])
        let error = await #expect(throws: SystemError.self) { try await files.promote(try write("x"), at: target) }
        #expect(error?.disposition == .passing)
        #expect(error?.message == "the reload command ended with status 1")
        #expect(folder.read("out/key") == "x")
    }

    @Test(arguments: ["../x", "a/../x", "/x", "a//x", ".", "", "a\nb"])
    func noFileIsWrittenOutsideOfTheFolder(path: String) async throws {
        let files = try backend("file", ["directory": .string(folder.path("out"))])
        let error = await #expect(throws: SystemError.self) {
            try await files.promote(try write("x"), at: BackendTarget(backend: "files", path: path))
        }
        #expect(error?.code == .misconfigured)
        #expect(folder.names.isEmpty)
    }

    @Test func aLinkAtThePlaceIsNotFollowed() async throws {
        try folder.write("theirs", to: "elsewhere")
        try FileManager.default.createDirectory(atPath: folder.path("out"), withIntermediateDirectories: true)
        try FileManager.default.createSymbolicLink(
            atPath: folder.path("out/key"), withDestinationPath: folder.path("elsewhere"))
        let files = try backend("file", ["directory": .string(folder.path("out"))])
        await #expect(throws: SystemError.self) {
            try await files.promote(try write("x"), at: BackendTarget(backend: "files", path: "key"))
        }
        #expect(folder.read("elsewhere") == "theirs")
    }

    @Test func aProgramThatDoesNotReadBackIsNotAsked() async throws {
        let program = try backend(
            "command",
            [
                "run": .list(
                    ["sh", "-c", "cat >> questions; echo >> questions; echo '{}'"].map(ParameterValue.string)),
                "readsBack": .boolean(false),
            ])
        let target = BackendTarget(backend: "program", path: "p")
        #expect(try await program.promote(try write("v"), at: target) == [:])
        #expect(throws: Never.self) { #expect(!program.traits.readsBack) }
        let error = await #expect(throws: SystemError.self) { try await program.read(.current, at: target) }
        #expect(error?.code == .unsupported)
        let key = try write("v").idempotencyKey
        #expect(
            folder.read("questions")
                == #"{"idempotencyKey":"\#(key)","operation":"promote","path":"p","receipt":{},"secret":"team/key","#
                + #""value":"v","version":1}"# + "\n")
    }
}
