import Foundation
import KeyturnCore
import KeyturnSystem
import TestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#endif

@Suite("Folders on the way to a secret")
struct TrustedFolderTests {
    private let folder: ScratchFolder

    init() throws {
        folder = try ScratchFolder()
        try folder.write("secret", to: "outer/inner/file")
    }

    private func setMode(_ name: String, _ mode: UInt32) throws { try #require(chmod(folder.path(name), mode) == 0) }

    private func refusal() -> SystemError? {
        do throws(SystemError) { _ = try PrivateFile.read(folder.path("outer/inner/file")) } catch { return error }
        return nil
    }

    @Test(arguments: ["outer", "outer/inner"]) func oneThatOthersMayWriteToIsRefused(name: String) throws {
        #expect(refusal() == nil)
        // 01777 is that of /tmp, where nobody can rename what is another's.
        for mode in [0o755, 0o700, 0o1777, 0o711] as [UInt32] {
            try setMode(name, mode)
            #expect(refusal() == nil, "\(String(mode, radix: 8))")
        }
        for mode in [0o777, 0o757, 0o703] as [UInt32] {
            try setMode(name, mode)
            let error = try #require(refusal())
            #expect(error.code == .forbidden)
            #expect(error.message.hasPrefix("others may write to the folder \(folder.path(name)), and put something"))
            #expect(error.advice == "mend it with `chmod go-w \(folder.path(name))`")
        }
    }

    @Test func aLinkIsFollowedAndWhereItLiesCounts() throws {
        try folder.write("", to: "open/x")
        try #require(symlink(folder.path("outer/inner"), folder.path("open/link")) == 0)
        let path = folder.path("open/link/file")
        _ = try PrivateFile.read(path)
        // Who may write to `open` may lead the link elsewhere.
        try setMode("open", 0o777)
        #expect(throws: SystemError.self) { try PrivateFile.read(path) }
        try setMode("open", 0o700)
        try setMode("outer", 0o777)
        #expect(throws: SystemError.self) { try PrivateFile.read(path) }
    }

    /// Only root can give a folder away.
    @Test(.enabled(if: geteuid() == 0)) func oneOfAnotherUserIsRefused() throws {
        try #require(chown(folder.path("outer"), 65_534, 65_534) == 0)
        let error = try #require(refusal())
        #expect(error.code == .forbidden)
        #expect(error.message.hasPrefix("the folder \(folder.path("outer")) belongs to another user"))
    }

    @Test(.enabled(if: geteuid() == 0)) func aGroupOfOthersMayNotWriteEither() throws {
        try setMode("outer", 0o770)
        #expect(refusal() == nil, "the group is the user's own")
        try #require(chown(folder.path("outer"), 0, 65_534) == 0)
        try setMode("outer", 0o770)
        #expect(refusal()?.code == .forbidden)
    }
}
