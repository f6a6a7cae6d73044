import Foundation
package import KeyturnCore

#if canImport(Glibc)
    import Glibc
#endif

/// Reads a file that holds a secret, and refuses one that others could have read or put there.
package enum PrivateFile {
    /// - Parameters:
    ///   - limit: the largest file that is read, in bytes.
    ///   - kind: what it is, for messages, such as `the identity file`.
    /// - Throws: `misconfigured` when it is missing, a link or no file; `forbidden` when it may not be read, or others may
    ///   read it, or put another one in its place.
    package static func read(_ path: String, limit: Int = 1 << 20, as kind: String = "") throws(SystemError)
        -> SecretValue
    {
        let name = kind.isEmpty ? path : "\(kind) \(path)"
        // Without O_NONBLOCK a named pipe would keep us waiting for its writer.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else {
            let reason = String(cString: strerror(errno))
            throw SystemError(
                errno == EACCES || errno == EPERM ? .forbidden : .misconfigured, "\(name) can't be read: \(reason)")
        }
        defer { close(descriptor) }
        var information = stat()
        guard fstat(descriptor, &information) == 0, information.st_mode & S_IFMT == S_IFREG else {
            throw SystemError(.misconfigured, "\(name) is not a file")
        }
        guard information.st_mode & 0o077 == 0 else {
            throw SystemError(.forbidden, "others may read \(name)", advice: "mend it with `chmod 600 \(path)`")
        }
        guard information.st_uid == geteuid() || information.st_uid == 0 else {
            throw SystemError(.forbidden, "\(name) belongs to another user", advice: "mend it with `chown`")
        }
        try TrustedFolder.check(of: path)
        guard information.st_size <= limit else {
            throw SystemError(.misconfigured, "\(name) is larger than \(limit) bytes")
        }
        var bytes = [UInt8](repeating: 0, count: Int(information.st_size))
        defer { for index in bytes.indices { bytes[index] = 0 } }
        var filled = 0
        while filled < bytes.count {
            let count = bytes[filled...].withUnsafeMutableBytes { Glibc.read(descriptor, $0.baseAddress, $0.count) }
            guard count > 0 else { throw SystemError(.local, "\(name) can't be read whole") }
            filled += count
        }
        return SecretValue(bytes)
    }
}
