import Foundation
package import KeyturnCore

/// Bodies of the type `application/json`.
package enum JSONBody {
    /// - Throws: `local` for what JSON has no form for.
    package static func encode(_ body: some Encodable) throws(SystemError) -> SecretValue {
        guard let bytes = try? JSONEncoder().encode(body) else { throw SystemError(.local, "JSON can't be written") }
        return SecretValue(bytes)
    }
}
