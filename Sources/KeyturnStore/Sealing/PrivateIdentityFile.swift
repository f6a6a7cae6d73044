package import Age
package import KeyturnCore
import KeyturnSystem

/// The identity file that keyturn.yaml names.
package enum PrivateIdentityFile {
    private static let largest = 64 * 1024

    /// Reads it; a file that others can read is refused, and so is a link.
    ///
    /// - Throws: `misconfigured` when it is missing or malformed; `forbidden` when it may not be read, or others may.
    package static func load(_ path: String) throws(SystemError) -> [X25519Identity] {
        let content: SecretValue
        do throws(SystemError) { content = try PrivateFile.read(path, limit: largest, as: "the identity file") } catch {
            guard error.code == .misconfigured, error.advice.isEmpty else { throw error }
            throw SystemError(
                .misconfigured, error.message,
                advice: "`keyturn init` writes one; a lost identity is restored from a backup")
        }
        var bytes = content.exposedBytes()
        defer { for index in bytes.indices { bytes[index] = 0 } }
        do throws(AgeError) { return try IdentityFile.parse(bytes) } catch {
            throw SystemError(.misconfigured, "the identity file \(path) can't be used: \(error)")
        }
    }
}
