package import KeyturnCore
import KeyturnSystem

/// The file of the key that signs checkpoints.
package enum AuditKeyFile {
    /// - Throws: `misconfigured`, `forbidden`; nothing of the content is part of it.
    package static func load(_ path: String) throws(SystemError) -> AuditSigningKey {
        let content: SecretValue
        do throws(SystemError) { content = try PrivateFile.read(path, limit: 16 * 1024, as: "the audit key") } catch {
            throw SystemError(
                error.code, error.message,
                advice: error.advice.isEmpty
                    ? "`keyturn audit key --create` writes one; the one that is lost is restored from a backup"
                    : error.advice)
        }
        guard let key = AuditSigningKey(pem: content) else {
            throw SystemError(
                .misconfigured, "the key of the audit trail, \(path), is not an Ed25519 private key in PEM",
                advice: "`openssl genpkey -algorithm ed25519` writes one, and so does `keyturn audit key --create`")
        }
        return key
    }

    /// Writes a fresh one, for its owner alone.
    package static func create(_ path: String) throws(SystemError) -> AuditSigningKey {
        let key = AuditSigningKey()
        try AtomicFile.makeFolder(AtomicFile.folder(of: path))
        try AtomicFile.write(key.pem, to: path)
        return key
    }
}
