import Foundation
package import KeyturnCore

#if canImport(Glibc)
    import Glibc
#endif

/// Writes files so that a reader sees the old one or the new one, and a crash leaves one of them whole.
package enum AtomicFile {
    /// The beginning of temporary names, by which leftovers of a crash are known.
    package static let temporaryPrefix = ".keyturn-tmp-"

    /// Writes to a temporary name beside `path`, syncs, renames, syncs the folder.
    ///
    /// - Parameters:
    ///   - mode: permission bits of the new file.
    ///   - owner: user and group ids it is given before it appears; `nil` leaves them.
    ///   - confirm: is asked last, before the file appears.
    /// - Throws: `local`, with nothing left behind; what `confirm` throws.
    package static func write(
        _ value: SecretValue, to path: String, mode: UInt32 = 0o600, owner: (user: UInt32?, group: UInt32?)? = nil,
        confirm: () throws(SystemError) -> Void = {}
    ) throws(SystemError) {
        let folder = folder(of: path)
        let temporary = "\(temporaryPath(of: path))\(UInt64.random(in: .min ... .max))"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw failure("create a file in \(folder)") }
        do throws(SystemError) {
            defer { close(descriptor) }
            try writeAll(value, to: descriptor, path)
            if let owner {
                guard fchown(descriptor, owner.user ?? uid_t.max, owner.group ?? gid_t.max) == 0 else {
                    throw failure("change the owner of \(path)")
                }
            }
            guard fchmod(descriptor, mode) == 0 else { throw failure("set the mode of \(path)") }
            guard fsync(descriptor) == 0 else { throw failure("sync \(path)") }
            try confirm()
            guard rename(temporary, path) == 0 else { throw failure("put \(path) in place") }
        } catch {
            unlink(temporary)
            throw error
        }
        try syncFolder(folder)
    }

    /// Puts a symbolic link in place of whatever is there, by one rename.
    package static func link(_ path: String, to destination: String) throws(SystemError) {
        let folder = folder(of: path)
        let temporary = "\(temporaryPath(of: path))\(UInt64.random(in: .min ... .max))"
        guard symlink(destination, temporary) == 0 else { throw failure("create a link in \(folder)") }
        guard rename(temporary, path) == 0 else {
            let error = failure("put \(path) in place")
            unlink(temporary)
            throw error
        }
        try syncFolder(folder)
    }

    /// Removes what writes to `path` that a crash broke off have left behind. Nobody else may be writing to it.
    package static func sweep(_ path: String) throws(SystemError) {
        let folder = folder(of: path)
        let beginning = temporaryPath(of: path).dropFirst(folder.count + 1)
        for name in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        where name.hasPrefix(beginning) && UInt64(name.dropFirst(beginning.count)) != nil {
            try remove("\(folder)/\(name)")
        }
    }

    /// How the temporary names beside `path` begin; a number follows.
    private static func temporaryPath(of path: String) -> String {
        let folder = folder(of: path)
        let name = path.lastIndex(of: "/").map { path[path.index(after: $0)...] } ?? path[...]
        // Short enough for a name of 255 bytes.
        return "\(folder)/\(temporaryPrefix)\(String(decoding: name.utf8.prefix(200), as: UTF8.self))-"
    }

    /// Removes a file durably; one that is gone already is fine.
    package static func remove(_ path: String) throws(SystemError) {
        guard unlink(path) == 0 || errno == ENOENT else { throw failure("remove \(path)") }
        try syncFolder(folder(of: path))
    }

    /// Makes a folder and those above it. One that is there stays as it is.
    ///
    /// - Parameters:
    ///   - mode: permission bits of folders that are made.
    ///   - group: group id that they are given to; `nil` leaves it.
    package static func makeFolder(_ path: String, mode: UInt32 = 0o700, group: UInt32? = nil) throws(SystemError) {
        guard mkdir(path, 0o700) != 0 else {
            if let group {
                guard chown(path, uid_t.max, group) == 0 else { throw failure("change the group of \(path)") }
            }
            // Whatever the process's mask takes away.
            guard mode == 0o700 || chmod(path, mode) == 0 else { throw failure("set the mode of \(path)") }
            return try syncFolder(folder(of: path))
        }
        if errno == ENOENT, path.count > 1 {
            try makeFolder(folder(of: path), mode: mode, group: group)
            return try makeFolder(path, mode: mode, group: group)
        }
        guard errno == EEXIST, isFolder(path) else { throw failure("make the folder \(path)") }
    }

    /// Whether files could be written in a folder, which is made when it is needed: it, or the nearest above it that is
    /// there, can be written to. It changes nothing.
    package static func probeFolder(_ path: String) throws(SystemError) {
        var nearest = path
        while access(nearest, F_OK) != 0 {
            guard errno == ENOENT || errno == ENOTDIR, nearest.count > 1 else {
                throw failure("reach the folder \(nearest)")
            }
            nearest = folder(of: nearest)
        }
        guard isFolder(nearest) else {
            throw SystemError(.misconfigured, "\(nearest) is in the way: it is not a folder")
        }
        guard faccessat(AT_FDCWD, nearest, W_OK | X_OK, AT_EACCESS) == 0 else {
            throw failure("write in the folder \(nearest)")
        }
    }

    private static func isFolder(_ path: String) -> Bool {
        var information = stat()
        return stat(path, &information) == 0 && information.st_mode & S_IFMT == S_IFDIR
    }

    /// Runs `body` while nobody else who asks does so for the same folder, in this process or another. It is the folder
    /// itself that is locked, so that nothing is left beside what lies there.
    package static func locked<Result>(
        _ folder: String, _ body: () throws(SystemError) -> Result
    ) throws(SystemError) -> Result {
        let descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("open the folder \(folder)") }
        defer { close(descriptor) }
        guard flock(descriptor, LOCK_EX) == 0 else { throw failure("lock the folder \(folder)") }
        return try body()
    }

    package static func syncFolder(_ path: String) throws(SystemError) {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw failure("open the folder \(path)") }
        defer { close(descriptor) }
        guard fsync(descriptor) == 0 else { throw failure("sync the folder \(path)") }
    }

    /// The folder that holds `path`.
    package static func folder(of path: String) -> String {
        guard let slash = path.lastIndex(of: "/") else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    private static func writeAll(_ value: SecretValue, to descriptor: Int32, _ path: String) throws(SystemError) {
        let isWhole = value.withUnsafeBytes { bytes in
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = Glibc.write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
                guard count > 0 else { return false }
                rest = rest.dropFirst(count)
            }
            return true
        }
        guard isWhole else { throw failure("write \(path)") }
    }

    /// What the last call answered. A full disk passes, and so may an error of the disk; the rest needs a person.
    package static func failure(_ what: String) -> SystemError {
        let isFull = errno == ENOSPC || errno == EDQUOT
        let isBroken = errno == EIO
        let isRefused = errno == EACCES || errno == EPERM || errno == EROFS
        return SystemError(
            isRefused ? .forbidden : .local, "can't \(what): \(String(cString: strerror(errno)))",
            advice: isFull ? "free some space" : isBroken ? "see the health of the disk" : "check owner and mode",
            disposition: isFull || isBroken ? .passing : .permanent)
    }
}
