import Foundation
package import KeyturnCore
import KeyturnSystem

#if canImport(Glibc)
    import Glibc
#endif

/// A file to which each checkpoint is appended as a line. It may lie where whoever can change the database has no
/// access: another disk, a folder of another user, a file that is append-only.
package struct CheckpointFile: Sendable {
    package let path: String

    package init(path: String) { self.path = path }

    /// Appends durably. The file is made when it is missing; its folder is not, since that may be one that is to be
    /// mounted.
    package func append(_ checkpoint: AuditCheckpoint) throws(SystemError) {
        let wasThere = access(path, F_OK) == 0
        let descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0o640)
        guard descriptor >= 0 else { throw AtomicFile.failure("open the checkpoint file \(path)") }
        defer { close(descriptor) }
        var information = stat()
        guard fstat(descriptor, &information) == 0, information.st_mode & S_IFMT == S_IFREG else {
            throw SystemError(.misconfigured, "the checkpoint file \(path) is not a file")
        }
        // In one call, so that two processes never write into each other's line. What a crash cut off is left as a line
        // of its own.
        let line = (try endsInALine() ? "" : "\n") + AuditLine.checkpoint(checkpoint).text + "\n"
        let bytes = Array(line.utf8)
        guard write(descriptor, bytes, bytes.count) == bytes.count, fsync(descriptor) == 0 else {
            throw AtomicFile.failure("write the checkpoint file \(path)")
        }
        if !wasThere { try AtomicFile.syncFolder(AtomicFile.folder(of: path)) }
    }

    private func endsInALine() throws(SystemError) -> Bool {
        let tail = try tail(1)
        return tail.isEmpty || tail.last == 0x0A
    }

    /// The newest checkpoint that it holds; `nil` when it holds none, or is not there.
    package func newest() throws(SystemError) -> AuditCheckpoint? {
        let text = String(decoding: try tail(16 * 1024), as: UTF8.self)
        for line in text.split(separator: "\n").reversed() {
            if case .checkpoint(let checkpoint) = AuditLine(line) { return checkpoint }
        }
        return nil
    }

    private func tail(_ count: Int) throws(SystemError) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else {
            if errno == ENOENT { return [] }
            throw AtomicFile.failure("read the checkpoint file \(path)")
        }
        defer { close(descriptor) }
        let size = lseek(descriptor, 0, SEEK_END)
        guard size >= 0 else { throw AtomicFile.failure("read the checkpoint file \(path)") }
        var bytes = [UInt8](repeating: 0, count: min(count, size))
        let length = pread(descriptor, &bytes, bytes.count, size - bytes.count)
        guard length >= 0 else { throw AtomicFile.failure("read the checkpoint file \(path)") }
        return Array(bytes.prefix(length))
    }
}
