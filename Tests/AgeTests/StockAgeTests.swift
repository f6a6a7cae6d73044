import Age
import Foundation
import TestSupport
import Testing

/// Against the stock `age` command, both ways.
@Suite struct StockAgeTests {
    @Test(arguments: [false, true]) func theStockCommandOpensOurs(armor: Bool) throws {
        let folder = try TemporaryFolder()
        let identity = X25519Identity()
        try folder.write(IdentityFile.content(identity, created: "2026-01-01T00:00:00Z"), to: "identity.txt")
        let plaintext = [UInt8](repeating: 42, count: 100_000)
        let file = try AgeFile.encrypt(
            plaintext, to: [X25519Identity().recipient, identity.recipient], armor: armor)
        try Data(file).write(to: folder.url("file.age"))
        let output = try run("age", ["-d", "-i", folder.path("identity.txt"), folder.path("file.age")])
        #expect(Array(output) == plaintext)
    }

    @Test(arguments: [false, true]) func weOpenTheirs(armor: Bool) throws {
        let folder = try TemporaryFolder()
        _ = try run("age-keygen", ["-o", folder.path("identity.txt")])
        let identities = try IdentityFile.parse(Array(Data(contentsOf: folder.url("identity.txt"))))
        let identity = try #require(identities.first)
        let other = X25519Identity()
        try folder.write("hello from age", to: "plain.txt")
        let flags = ["-e", "-r", other.recipient.text, "-r", identity.recipient.text] + (armor ? ["-a"] : [])
        _ = try run("age", flags + ["-o", folder.path("file.age"), folder.path("plain.txt")])
        let file = Array(try Data(contentsOf: folder.url("file.age")))
        #expect(try AgeFile.decrypt(file, with: [identity]) == Array("hello from age".utf8))
        #expect(try AgeFile.decrypt(file, with: [other]) == Array("hello from age".utf8))
    }

    /// Made with `age -p` 1.1.1 and the passphrase `correct horse battery`.
    @Test func weOpenTheirPassphraseFile() throws {
        let url = try #require(
            Bundle.module.url(forResource: "passphrase", withExtension: "age", subdirectory: "Fixtures"))
        let file = Array(try Data(contentsOf: url))
        let identity = ScryptIdentity(passphrase: "correct horse battery".utf8)
        #expect(try AgeFile.decrypt(file, with: [identity]) == Array("from a passphrase\n".utf8))
    }

    @Test func theStockCommandOpensOursWithAPassphrase() throws {
        let folder = try TemporaryFolder()
        let recipient = ScryptRecipient(passphrase: "correct horse battery".utf8, workFactor: 12)
        for armor in [false, true] {
            let file = try AgeFile.encrypt(Array("from us".utf8), to: [recipient], armor: armor)
            try Data(file).write(to: folder.url("file.age"))
            try typing("correct horse battery", ["age", "-d", "-o", folder.path("out"), folder.path("file.age")])
            #expect(try Data(contentsOf: folder.url("out")) == Data("from us".utf8))
        }
    }

    @Test func weOpenWhatTheyEncryptedWithAPassphraseJustNow() throws {
        let folder = try TemporaryFolder()
        try folder.write("from them", to: "plain.txt")
        try typing(
            "correct horse battery", ["age", "-p", "-a", "-o", folder.path("file.age"), folder.path("plain.txt")])
        let file = Array(try Data(contentsOf: folder.url("file.age")))
        let identity = ScryptIdentity(passphrase: "correct horse battery".utf8)
        #expect(try AgeFile.decrypt(file, with: [identity]) == Array("from them".utf8))
    }

    @Test(arguments: [0, 1, 65_536, 131_072]) func sizesAtTheEdgesOfChunksGoBothWays(size: Int) throws {
        let folder = try TemporaryFolder()
        let identity = X25519Identity()
        try folder.write(IdentityFile.content(identity, created: "2026-01-01T00:00:00Z"), to: "identity.txt")
        let plaintext = [UInt8](repeating: 42, count: size)
        try Data(try AgeFile.encrypt(plaintext, to: [identity.recipient])).write(to: folder.url("ours.age"))
        #expect(Array(try run("age", ["-d", "-i", folder.path("identity.txt"), folder.path("ours.age")])) == plaintext)
        try Data(plaintext).write(to: folder.url("plain"))
        let flags = ["-e", "-r", identity.recipient.text, "-o", folder.path("theirs.age")]
        _ = try run("age", flags + [folder.path("plain")])
        let theirs = Array(try Data(contentsOf: folder.url("theirs.age")))
        #expect(try AgeFile.decrypt(theirs, with: [identity]) == plaintext)
    }

    /// Runs a command on a terminal of its own and types a passphrase whenever it asks for one.
    private func typing(_ passphrase: String, _ command: [String]) throws {
        let script = try #require(
            Bundle.module.url(forResource: "age_passphrase", withExtension: "py", subdirectory: "Fixtures"))
        _ = try run("python3", [script.path(percentEncoded: false), passphrase] + command)
    }

    private func run(_ program: String, _ arguments: [String]) throws -> Data {
        try StockProgram.run([program] + arguments, isQuiet: true)
    }
}

private struct TemporaryFolder: ~Copyable {
    private let root: URL

    init() throws {
        root = FileManager.default.temporaryDirectory.appending(path: "keyturn-age-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: root, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(at: root) }

    func url(_ name: String) -> URL { root.appending(path: name) }
    func path(_ name: String) -> String { url(name).path(percentEncoded: false) }
    func write(_ text: String, to name: String) throws { try Data(text.utf8).write(to: url(name)) }
}
