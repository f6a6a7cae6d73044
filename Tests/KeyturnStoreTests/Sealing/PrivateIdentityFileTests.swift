import Age
import Foundation
import KeyturnCore
import KeyturnStore
import Testing

#if canImport(Glibc)
    import Glibc
#endif

@Suite("The identity file")
struct PrivateIdentityFileTests {
    private let identity = X25519Identity()
    private var content: [UInt8] { Array(IdentityFile.content(identity, created: "2027-01-01T00:00:00Z").utf8) }

    private func refusal(_ path: String) throws -> SystemError {
        try #require(throws: SystemError.self) { try PrivateIdentityFile.load(path) }
    }

    @Test(arguments: [0o600, 0o400] as [UInt32]) func isReadWhenItIsPrivate(mode: UInt32) throws {
        let folder = try StoreFolder()
        let file = try folder.write(content, to: "identity.txt", mode: mode)
        #expect(try PrivateIdentityFile.load(file).map(\.recipient) == [identity.recipient])
    }

    @Test(arguments: [0o640, 0o604, 0o620, 0o602, 0o601, 0o644, 0o666] as [UInt32])
    func isRefusedWhenOthersHaveAnyRight(mode: UInt32) throws {
        let folder = try StoreFolder()
        let file = try folder.write(content, to: "identity.txt", mode: mode)
        let error = try refusal(file)
        #expect(error.code == .forbidden)
        #expect(error.message == "others may read the identity file \(file)")
        #expect(error.advice == "mend it with `chmod 600 \(file)`")
    }

    @Test func aMissingOneIsSaidWithTheWayOut() throws {
        let error = try refusal("/nowhere/identity.txt")
        #expect(error.code == .misconfigured)
        #expect(error.message == "the identity file /nowhere/identity.txt can't be read: No such file or directory")
        #expect(error.advice == "`keyturn init` writes one; a lost identity is restored from a backup")
    }

    @Test func aLinkIsRefused() throws {
        let folder = try StoreFolder()
        let file = try folder.write(content, to: "identity.txt")
        try #require(symlink(file, "\(folder.path)/link") == 0)
        #expect(try refusal("\(folder.path)/link").code == .misconfigured)
    }

    @Test func whatIsNoFileIsRefusedAtOnce() throws {
        let folder = try StoreFolder()
        #expect(try refusal(folder.path).message == "the identity file \(folder.path) is not a file")
        let pipe = "\(folder.path)/pipe"
        try #require(mkfifo(pipe, 0o600) == 0)
        #expect(try refusal(pipe).message == "the identity file \(pipe) is not a file")
    }

    @Test func itsContentIsNeverRepeated() throws {
        let folder = try StoreFolder()
        for text in ["", "# only a comment\n", "CANARY-NO-IDENTITY\n", "AGE-SECRET-KEY-1CANARY\n"] {
            let error = try refusal(try folder.write(Array(text.utf8), to: "identity.txt"))
            #expect(error.code == .misconfigured)
            #expect(!"\(error)".contains("CANARY"))
        }
        let large = try folder.write([UInt8](repeating: 0x23, count: 65 * 1024), to: "large.txt")
        #expect(try refusal(large).message == "the identity file \(large) is larger than 65536 bytes")
    }
}
