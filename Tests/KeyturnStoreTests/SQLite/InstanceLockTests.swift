import Foundation
import KeyturnCore
import KeyturnStore
import TestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#endif

@Suite("The lock of an instance")
struct InstanceLockTests {
    @Test func isHeldByOneAndNamesIt() throws {
        let folder = try StoreFolder()
        let lock = try InstanceLock.acquire(statePath: folder.state)
        #expect(throws: JournalError.locked("process \(getpid())")) {
            try InstanceLock.acquire(statePath: folder.state)
        }
        #expect(try StoreFolder.mode("\(folder.state).lock") == 0o600)
        #expect(try StoreFolder.mode("\(folder.path)/var") == 0o700)
        lock.release()
    }

    @Test func isFreeOnceItIsReleasedOrGone() throws {
        let folder = try StoreFolder()
        try InstanceLock.acquire(statePath: folder.state).release()
        let second = try InstanceLock.acquire(statePath: folder.state)
        second.release()
        second.release()
        do { _ = try InstanceLock.acquire(statePath: folder.state) }
        _ = try InstanceLock.acquire(statePath: folder.state)
    }

    @Test func whoHoldsItIsToldWithoutTakingIt() throws {
        let folder = try StoreFolder()
        #expect(InstanceLock.holder(statePath: folder.state) == nil)
        #expect(!FileManager.default.fileExists(atPath: "\(folder.state).lock"))
        let lock = try InstanceLock.acquire(statePath: folder.state)
        #expect(InstanceLock.holder(statePath: folder.state) == "process \(getpid())")
        lock.release()
        #expect(InstanceLock.holder(statePath: folder.state) == nil)
        try InstanceLock.acquire(statePath: folder.state).release()
    }

    @Test func twoStatesHaveTwoLocks() throws {
        let one = try StoreFolder()
        let other = try StoreFolder()
        let first = try InstanceLock.acquire(statePath: one.state)
        let second = try InstanceLock.acquire(statePath: other.state)
        first.release()
        second.release()
    }

    @Test func theKernelFreesItWhenItsHolderDies() throws {
        let folder = try StoreFolder()
        try FileManager.default.createDirectory(atPath: "\(folder.path)/var", withIntermediateDirectories: true)
        // flock(1) holds the lock for as long as its child runs; the child says when.
        let holder = try StockProgram(["flock", "\(folder.state).lock", "sh", "-c", "echo held; exec cat"])
        #expect(try holder.output.read(upToCount: 5) == Data("held\n".utf8))
        #expect(throws: JournalError.locked("another process")) { try InstanceLock.acquire(statePath: folder.state) }
        try holder.input.close()
        holder.wait()
        try InstanceLock.acquire(statePath: folder.state).release()
    }

    @Test func aLinkIsRefused() throws {
        let folder = try StoreFolder()
        let target = try folder.write([], to: "elsewhere")
        try FileManager.default.createDirectory(atPath: "\(folder.path)/var", withIntermediateDirectories: true)
        try #require(symlink(target, "\(folder.state).lock") == 0)
        #expect(throws: JournalError.self) { try InstanceLock.acquire(statePath: folder.state) }
        #expect(try Data(contentsOf: URL(filePath: target)).isEmpty)
    }
}
