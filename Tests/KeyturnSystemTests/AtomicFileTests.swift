import Foundation
import KeyturnCore
import KeyturnSystem
import TestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#endif

@Suite("Files that are replaced in one stroke")
struct AtomicFileTests {
    private let folder: ScratchFolder

    init() throws { folder = try ScratchFolder() }

    private func write(_ text: String, to name: String, mode: UInt32 = 0o600) throws {
        try AtomicFile.write(SecretValue(utf8: text), to: folder.path(name), mode: mode)
    }

    @Test(arguments: [0o600, 0o640, 0o644, 0o400] as [UInt32]) func hasItsModeWhateverTheUmask(mode: UInt32) throws {
        try write("one", to: "file", mode: mode)
        #expect(folder.mode("file") == mode)
        try write("two", to: "file", mode: mode)
        #expect(folder.read("file") == "two")
        #expect(folder.names == ["file"])
    }

    @Test func theOldFileIsReplacedAndNotWrittenTo() throws {
        try write("old", to: "file")
        let reader = try #require(FileHandle(forReadingAtPath: folder.path("file")))
        try write("new", to: "file")
        #expect(try reader.readToEnd() == Data("old".utf8), "who has it open reads on in the old one")
        #expect(folder.read("file") == "new")
    }

    @Test func aLinkAtItsPlaceIsReplacedAndNotFollowed() throws {
        try folder.write("untouched", to: "elsewhere")
        try #require(symlink(folder.path("elsewhere"), folder.path("file")) == 0)
        try write("new", to: "file")
        #expect(!folder.isLink("file"))
        #expect(folder.read("file") == "new")
        #expect(folder.read("elsewhere") == "untouched")
    }

    @Test func aFailureLeavesNothingBehind() throws {
        try folder.write("x", to: "taken/inside")
        let error = try #require(throws: SystemError.self) { try write("new", to: "taken") }
        #expect(error.code == .local && error.disposition == .permanent)
        #expect(error.message == "can't put \(folder.path("taken")) in place: Is a directory")
        #expect(folder.names == ["taken", "taken/inside"])
        #expect(throws: SystemError.self) { try write("new", to: "missing/file") }
        #expect(throws: SystemError.self) {
            try AtomicFile.link(folder.path("taken"), to: "inside")
        }
        #expect(folder.names == ["taken", "taken/inside"])
    }

    @Test func anOwnerThatCanNotBeGivenLeavesNothingBehind() throws {
        // No user may give a file away, and the superuser finds no such descriptor's folder.
        let missing = folder.path("missing/file")
        #expect(throws: SystemError.self) {
            try AtomicFile.write(SecretValue(utf8: "x"), to: missing, owner: (user: geteuid(), group: getegid()))
        }
        try AtomicFile.write(
            SecretValue(utf8: "x"), to: folder.path("own"), owner: (user: geteuid(), group: getegid()))
        #expect(folder.names == ["own"])
    }

    @Test func leftoversOfOnePathAreSwept() throws {
        let others = ["file", ".keyturn-tmp-other-7", ".keyturn-tmp-file-more-7", ".keyturn-tmp-file-x"]
        for name in others + [".keyturn-tmp-file-7", ".keyturn-tmp-file-18446744073709551615"] {
            try folder.write("half", to: name)
        }
        try AtomicFile.sweep(folder.path("file"))
        #expect(folder.names == others.sorted())
        try AtomicFile.sweep(folder.path("missing/file"))
    }

    @Test func aNameMayBeAsLongAsAnyOther() throws {
        let name = String(repeating: "n", count: 255)
        try write("x", to: name)
        #expect(folder.names == [name])
    }

    @Test(arguments: [0, 1, 1 << 20]) func holdsAllBytes(size: Int) throws {
        let bytes = [UInt8](repeating: 0xA5, count: size)
        try AtomicFile.write(SecretValue(bytes), to: folder.path("file"))
        #expect(try Data(contentsOf: URL(filePath: folder.path("file"))) == Data(bytes))
    }

    @Test func aLinkIsSwapped() throws {
        try AtomicFile.link(folder.path("current"), to: "1.age")
        try AtomicFile.link(folder.path("current"), to: "2.age")
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: folder.path("current")) == "2.age")
        #expect(folder.names == ["current"])
    }

    @Test func removingTwiceIsFine() throws {
        try write("x", to: "file")
        try AtomicFile.remove(folder.path("file"))
        try AtomicFile.remove(folder.path("file"))
        #expect(folder.names.isEmpty)
        try folder.write("x", to: "folder/inside")
        #expect(throws: SystemError.self) { try AtomicFile.remove(folder.path("folder")) }
    }

    @Test func foldersAreForTheirOwnerAlone() throws {
        try AtomicFile.makeFolder(folder.path("a/b/c"))
        try AtomicFile.makeFolder(folder.path("a/b/c"))
        for name in ["a", "a/b", "a/b/c"] { #expect(folder.mode(name) == 0o700) }
        try folder.write("x", to: "file")
        #expect(throws: SystemError.self) { try AtomicFile.makeFolder(folder.path("file")) }
        #expect(throws: SystemError.self) { try AtomicFile.makeFolder(folder.path("file/below")) }
    }

    @Test(arguments: [("/a/b", "/a"), ("/a", "/"), ("a", "."), ("a/b/c", "a/b")])
    func knowsTheFolderOfAPath(path: String, expected: String) {
        #expect(AtomicFile.folder(of: path) == expected)
    }
}

@Suite("Files that hold a secret")
struct PrivateFileTests {
    private let folder: ScratchFolder

    init() throws { folder = try ScratchFolder() }

    private func refusal(_ path: String, limit: Int = 1 << 20) throws -> SystemError {
        try #require(throws: SystemError.self) { try PrivateFile.read(path, limit: limit) }
    }

    @Test(arguments: [0, 1, 100_000]) func areReadWhole(size: Int) throws {
        let bytes = (0..<size).map { UInt8(truncatingIfNeeded: $0) }
        let file = try folder.write(bytes, to: "file", mode: 0o400)
        #expect(try PrivateFile.read(file).exposedBytes() == bytes)
    }

    @Test(arguments: [0o640, 0o604, 0o620, 0o602, 0o610, 0o601, 0o777] as [UInt32])
    func areRefusedWhenOthersHaveAnyRight(mode: UInt32) throws {
        let file = try folder.write("CANARY", to: "file", mode: mode)
        let error = try refusal(file)
        #expect(error.code == .forbidden)
        #expect(error.description == "others may read \(file) [forbidden]; mend it with `chmod 600 \(file)`")
    }

    @Test func whatIsNoFileIsRefusedAtOnce() throws {
        let file = try folder.write("x", to: "file")
        try #require(symlink(file, folder.path("link")) == 0)
        try #require(mkfifo(folder.path("pipe"), 0o600) == 0)
        #expect(try refusal(folder.path("link")).code == .misconfigured)
        #expect(try refusal(folder.path("pipe")).message == "\(folder.path("pipe")) is not a file")
        #expect(try refusal(folder.path).message == "\(folder.path) is not a file")
        #expect(
            try refusal(folder.path("missing")).message
                == "\(folder.path("missing")) can't be read: No such file or directory")
    }

    @Test func theLimitHolds() throws {
        let file = try folder.write("12345", to: "file")
        #expect(try PrivateFile.read(file, limit: 5).count == 5)
        #expect(try refusal(file, limit: 4).message == "\(file) is larger than 4 bytes")
    }
}
