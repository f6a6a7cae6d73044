package import Foundation
package import KeyturnCore

extension MomentoIssuer: ReadsDownloadedKeys {
    package func read(_ content: SecretValue, now: Date) throws(InvalidAdoptedKey) -> IssuedKey {
        let file = try MomentoConsoleFile(content, now: now)
        guard file.key.generation == .v2 else {
            throw InvalidAdoptedKey(
                reason: "the key is of Momento's first generation; its policy needs an issuer of type momento-v1")
        }
        return IssuedKey(
            material: material(file.text, endpoint: file.endpoint ?? endpoint), keyID: file.keyID,
            issuedAt: file.key.issuedAt.flatMap { $0 <= now ? $0 : nil } ?? now, expiresAt: file.expiresAt)
    }
}
