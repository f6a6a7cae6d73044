package import Age
import Foundation
package import KeyturnCore

#if canImport(Glibc)
    import Glibc
#endif

/// The identity file that keyturn.yaml names.
package enum PrivateIdentityFile {
    private static let largest = 64 * 1024

    /// Reads it; a file that others can read is refused, and so is a link.
    ///
    /// - Throws: `misconfigured` when it is missing or malformed; `forbidden` when it may not be read, or others may.
    package static func load(_ path: String) throws(SystemError) -> [X25519Identity] {
        // Without O_NONBLOCK a named pipe would keep us waiting for its writer.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard descriptor >= 0 else {
            let reason = String(cString: strerror(errno))
            throw errno == EACCES || errno == EPERM
                ? SystemError(.forbidden, "the identity file \(path) can't be read: \(reason)")
                : SystemError(
                    .misconfigured, "the identity file \(path) can't be read: \(reason)",
                    advice: "`keyturn init` writes one; a lost identity is restored from a backup")
        }
        defer { close(descriptor) }
        var information = stat()
        guard fstat(descriptor, &information) == 0, information.st_mode & S_IFMT == S_IFREG else {
            throw SystemError(.misconfigured, "the identity \(path) is not a file")
        }
        guard information.st_mode & 0o077 == 0 else {
            throw SystemError(
                .forbidden, "others may read the identity file \(path)", advice: "mend it with `chmod 600 \(path)`")
        }
        guard information.st_uid == geteuid() || information.st_uid == 0 else {
            throw SystemError(
                .forbidden, "the identity file \(path) belongs to another user", advice: "mend it with `chown`")
        }
        guard information.st_size <= largest else { throw SystemError(.misconfigured, "\(path) is too large") }
        var bytes = [UInt8](repeating: 0, count: Int(information.st_size))
        defer { for index in bytes.indices { bytes[index] = 0 } }
        guard read(descriptor, &bytes, bytes.count) == bytes.count else {
            throw SystemError(.local, "the identity file \(path) can't be read whole")
        }
        do throws(AgeError) { return try IdentityFile.parse(bytes) } catch {
            throw SystemError(.misconfigured, "the identity file \(path) can't be used: \(error)")
        }
    }
}
