import KeyturnCore

/// `{vault: SECRET}` in keyturn.yaml names a secret that Keyturn keeps.
enum ReferenceRules {
    @Sendable static func check(_ context: ValidationContext) -> [Diagnostic] {
        let known = Set(context.policies.map(\.policy.secret))
        let configuration = context.configuration
        let systems = [configuration.issuers, configuration.backends, configuration.alerts].flatMap(\.values)
        return systems.sorted { $0.name < $1.name }.flatMap { system in
            references(.map(system.parameters)).filter { !known.contains($0) }.map { name in
                Diagnostic(
                    file: "keyturn.yaml", line: 1, column: 1,
                    message: "'\(system.name)' refers to {vault: \(name)}, which has no policy")
            }
        }
    }

    private static func references(_ value: ParameterValue) -> [SecretName] {
        switch value {
        case .secret(.vault(let name)): [name]
        case .map(let members): members.values.flatMap(references)
        case .list(let items): items.flatMap(references)
        case .secret, .string, .integer, .decimal, .boolean, .null: []
        }
    }
}
