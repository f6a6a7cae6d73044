package import KeyturnCore
package import KeyturnSystem

/// A type of check with the function that makes one.
package struct CheckType: Sendable {
    package let description: CheckDescription
    package let make: @Sendable (Parameters, SystemServices) throws(SystemError) -> any KeyVerifier
}

/// The checks that a policy may name under `verify`, beside `issuer`: one line each.
package enum CheckRegistry {
    package static let all: [CheckType] = [
        HTTPCheck.type,
        CommandCheck.type,
    ]

    package static var descriptions: [CheckDescription] { all.map(\.description) }

    /// - Throws: `misconfigured` for a type that is not built in.
    package static func make(_ check: PolicyCheck, _ services: SystemServices) throws(SystemError) -> any KeyVerifier {
        guard let type = all.first(where: { $0.description.type == check.type }) else {
            throw SystemError(.misconfigured, "there is no check of type '\(check.type)'")
        }
        return try type.make(check.parameters, services)
    }
}
