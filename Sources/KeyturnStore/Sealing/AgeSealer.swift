package import Age
package import Foundation
package import KeyturnCore

/// Seals with an age identity: what lies in the journal opens with the identity file alone.
package struct AgeSealer: Sealer {
    private let identities: [X25519Identity]

    /// Seals to the first identity, opens with any of them.
    package init(identities: [X25519Identity]) { self.identities = identities }

    package func seal(_ value: SecretValue) throws(SealError) -> Data {
        guard let first = identities.first else { throw SealError(reason: "there is no identity") }
        do throws(AgeError) {
            return Data(try AgeFile.encrypt(value.exposedBytes(), to: [first.recipient]))
        } catch { throw SealError(reason: error.description) }
    }

    package func open(_ sealed: Data) throws(SealError) -> SecretValue {
        do throws(AgeError) {
            var bytes = try AgeFile.decrypt(Array(sealed), with: identities)
            defer { for index in bytes.indices { bytes[index] = 0 } }
            return SecretValue(bytes)
        } catch { throw SealError(reason: error.description) }
    }
}
