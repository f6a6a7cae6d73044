package import Foundation
package import KeyturnCore
import KeyturnHTTP

extension GCPServiceAccountKeyIssuer: ReadsDownloadedKeys {
    package func read(_ content: SecretValue, now: Date) throws(InvalidAdoptedKey) -> IssuedKey {
        let key: ServiceAccountKey
        do throws(SystemError) { key = try ServiceAccountKey(content) } catch {
            throw InvalidAdoptedKey(reason: error.message)
        }
        return IssuedKey(
            material: Self.material(content, key), keyID: key.keyID, issuedAt: now, expiresAt: nil)
    }
}
