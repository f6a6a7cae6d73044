import Foundation
import KeyturnSystem

#if canImport(Glibc)
    import Glibc
#endif

/// Owner, mode and age of a file or folder itself; a link is not followed.
struct FileFacts: Sendable {
    let path: String
    let mode: UInt32
    let owner: UInt32
    let isLink: Bool
    let changedAt: Date

    /// `nil` when it is not there.
    init?(_ path: String) {
        var information = stat()
        guard lstat(path, &information) == 0 else { return nil }
        self.path = path
        mode = information.st_mode & 0o7777
        owner = information.st_uid
        isLink = information.st_mode & S_IFMT == S_IFLNK
        changedAt = Date(timeIntervalSince1970: TimeInterval(information.st_mtim.tv_sec))
    }

    /// Whether the user that Keyturn runs as, or root, owns it.
    var belongsToUs: Bool { owner == geteuid() || owner == 0 }

    /// Sets the mode, of a file of our own.
    func fix(_ mode: UInt32) -> DoctorFinding.Fix {
        let path = path
        return {
            guard chmod(path, mode) == 0 else { throw AtomicFile.failure("set the mode of \(path)") }
            return "\(path) has mode \(String(mode, radix: 8)) now"
        }
    }
}
