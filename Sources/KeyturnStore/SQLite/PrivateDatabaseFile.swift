import Foundation
import KeyturnCore
import KeyturnSystem

#if canImport(Glibc)
    import Glibc
#endif

/// Makes the database's file and folder for their owner alone.
enum PrivateDatabaseFile {
    static func prepare(_ path: String) throws {
        let folder = URL(filePath: path).deletingLastPathComponent().path(percentEncoded: false)
        if !FileManager.default.fileExists(atPath: folder) {
            try FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: true, attributes: [.posixPermissions: 0o700])
        }
        // SQLite gives its -wal and -shm files the mode of the database.
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else {
            let reason = String(cString: strerror(errno))
            if errno == EACCES || errno == EPERM || errno == EROFS {
                throw JournalError.permission("\(path): \(reason)")
            }
            if errno == ENOSPC || errno == EDQUOT { throw JournalError.full("\(path): \(reason)") }
            throw JournalError.failed("\(path): \(reason)")
        }
        defer { close(descriptor) }
        var information = stat()
        guard fstat(descriptor, &information) == 0, information.st_mode & S_IFMT == S_IFREG else {
            throw JournalError.failed("\(path) is not a file")
        }
        guard information.st_mode & 0o077 == 0 else {
            throw JournalError.permission("others may read \(path); mend it with `chmod 600 \(path)`")
        }
        do throws(SystemError) { try TrustedFolder.check(of: path) } catch {
            throw JournalError.permission("\(error.message); \(error.advice)")
        }
    }

    static func exists(_ path: String) throws -> Bool {
        var information = stat()
        guard lstat(path, &information) != 0 else { return true }
        guard errno != ENOENT else { return false }
        let reason = "\(path): \(String(cString: strerror(errno)))"
        throw errno == EACCES ? JournalError.permission(reason) : JournalError.failed(reason)
    }
}
