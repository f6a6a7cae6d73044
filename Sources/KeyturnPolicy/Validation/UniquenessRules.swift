import KeyturnCore

enum SecretsAreUnique {
    @Sendable static func check(_ context: ValidationContext) -> [Diagnostic] {
        var first: [SecretName: LocatedPolicy] = [:]
        return context.policies.compactMap { located in
            let secret = located.policy.secret
            guard let other = first[secret] else {
                first[secret] = located
                return nil
            }
            return located.diagnostic(
                located.mark("secret"),
                "secret '\(secret)' has a policy already, in \(other.file):\(other.policy.origin.line)")
        }
    }
}

enum TargetsAreUnique {
    private struct Place: Hashable {
        let backend: String
        let path: String
    }

    @Sendable static func check(_ context: ValidationContext) -> [Diagnostic] {
        var first: [Place: SecretName] = [:]
        var found: [Diagnostic] = []
        for located in context.policies {
            for (index, entry) in located.policy.backends.enumerated() {
                let place = Place(backend: entry.name, path: entry.target.path)
                if let other = first[place], other != located.policy.secret {
                    found.append(
                        located.diagnostic(
                            located.mark("backends.\(index)"),
                            "'\(place.path)' in backend '\(place.backend)' belongs to secret '\(other)' already"))
                }
                first[place] = first[place] ?? located.policy.secret
            }
        }
        return found
    }
}
