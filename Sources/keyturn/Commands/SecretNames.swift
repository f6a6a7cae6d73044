import KeyturnCore

/// Names of secrets from the command line.
enum SecretNames {
    static func parse(_ texts: [String]) throws(CommandFailure) -> [SecretName] {
        var names: [SecretName] = []
        for text in texts {
            do throws(InvalidSecretName) { names.append(try SecretName(text)) } catch {
                throw CommandFailure(.usage, error.description)
            }
        }
        return names
    }

    /// The same, each known by a policy or the state.
    static func known(
        _ texts: [String], _ composition: Composition, _ journal: (any Journal)?
    ) async throws -> [SecretName] {
        let names = try parse(texts)
        for name in names where composition.policy(name) == nil {
            guard try await journal?.record(of: name) != nil else {
                let near = composition.policies.map(\.secret.text).first {
                    $0.contains(name.text) || name.text.contains($0)
                }
                throw CommandFailure(
                    .usage, "there is no secret '\(name)'",
                    advice: near.map { "did you mean '\($0)'?" } ?? "`keyturn report` lists them")
            }
        }
        return names
    }
}
