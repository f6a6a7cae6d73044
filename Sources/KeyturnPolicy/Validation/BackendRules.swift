import KeyturnCore

/// A rotation is settled when every required backend has the new key: without one it would be settled by nobody.
enum BackendRules {
    @Sendable static func check(_ context: ValidationContext) -> [Diagnostic] {
        context.policies.compactMap { located in
            guard !located.policy.backends.contains(where: \.required) else { return nil }
            return located.diagnostic(
                located.mark("backends"),
                "every backend is best effort; one at least must be required, so that a new key is proven to be in use")
        }
    }
}
