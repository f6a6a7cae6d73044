import Foundation
package import KeyturnCore
import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// Sees to it that one process at a time works on a state. The kernel frees it when the process ends, however it ends.
package final class InstanceLock: Sendable {
    private let descriptor: Mutex<Int32?>

    private init(descriptor: Int32) { self.descriptor = Mutex(descriptor) }

    deinit { release() }

    /// Takes the lock that lies beside the state as `STATE.lock`.
    ///
    /// - Throws: `locked` when another process holds it; `permission`, `failed`.
    package static func acquire(statePath: String) throws(JournalError) -> InstanceLock {
        let path = statePath + ".lock"
        let folder = URL(filePath: path).deletingLastPathComponent().path(percentEncoded: false)
        try? FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else {
            let reason = "\(path): \(String(cString: strerror(errno)))"
            if errno == EACCES || errno == EPERM || errno == EROFS { throw .permission(reason) }
            if errno == ENOSPC || errno == EDQUOT { throw .full(reason) }
            throw .failed(reason)
        }
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 else {
            var holder = [UInt8](repeating: 0, count: 32)
            let length = pread(descriptor, &holder, holder.count, 0)
            close(descriptor)
            let text = String(decoding: holder.prefix(max(0, length)), as: UTF8.self)
            throw .locked(Int(text).map { "process \($0)" } ?? "another process")
        }
        let text = Array(String(getpid()).utf8)
        ftruncate(descriptor, 0)
        _ = pwrite(descriptor, text, text.count, 0)
        return InstanceLock(descriptor: descriptor)
    }

    /// Which process holds the lock, such as `process 812`; `nil` when none does. Nothing is made, and a lock that is free
    /// stays free.
    package static func holder(statePath: String) -> String? {
        let descriptor = open(statePath + ".lock", O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        guard flock(descriptor, LOCK_SH | LOCK_NB) != 0 else { return nil }
        var text = [UInt8](repeating: 0, count: 32)
        let length = pread(descriptor, &text, text.count, 0)
        let holder = String(decoding: text.prefix(max(0, length)), as: UTF8.self)
        return Int(holder).map { "process \($0)" } ?? "another process"
    }

    package func release() {
        descriptor.withLock { descriptor in
            if let open = descriptor {
                // Closing alone would leave it to a child that is about to start a program.
                flock(open, LOCK_UN)
                close(open)
            }
            descriptor = nil
        }
    }
}
