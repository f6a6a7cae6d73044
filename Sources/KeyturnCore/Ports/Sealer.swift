package import Foundation

/// Seals what goes into the journal, so that no value lies open on disk.
package protocol Sealer: Sendable {
    func seal(_ value: SecretValue) throws(SealError) -> Data
    func open(_ sealed: Data) throws(SealError) -> SecretValue
}

/// Why something could not be sealed or opened.
package struct SealError: Error, Sendable, Equatable, CustomStringConvertible {
    package let reason: String

    package init(reason: String) { self.reason = reason }

    package var description: String { reason }
}
