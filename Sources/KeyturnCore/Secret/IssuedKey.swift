package import Foundation

/// The answer of an issuer: a key, its public name there, and how long it is valid.
package struct IssuedKey: Sendable {
    package let material: KeyMaterial
    /// The issuer's own public name for the key, such as an AWS access key id. Not a secret.
    package let keyID: String?
    /// When it was made, UTC.
    package let issuedAt: Date
    /// When the issuer ends it, UTC; `nil` when it never expires there.
    package let expiresAt: Date?

    package init(material: KeyMaterial, keyID: String?, issuedAt: Date, expiresAt: Date?) {
        self.material = material
        self.keyID = keyID
        self.issuedAt = issuedAt
        self.expiresAt = expiresAt
    }
}
