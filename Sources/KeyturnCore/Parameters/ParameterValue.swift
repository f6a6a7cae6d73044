/// A value out of a policy or the configuration, after the schema accepted it.
package indirect enum ParameterValue: Sendable, Hashable, Codable {
    case string(String)
    case integer(Int)
    case boolean(Bool)
    case list([ParameterValue])
    case map([String: ParameterValue])
    /// Where a secret is to be had; never the secret.
    case secret(SecretReference)
    /// Any number that is not whole.
    case decimal(Double)
    case null
}

/// Parameters by name. The accessors give `nil` when the name is absent or has another type; the schema has been
/// checked before, so that a required one is there.
package typealias Parameters = [String: ParameterValue]

extension [String: ParameterValue] {
    package func string(_ name: String) -> String? {
        if case .string(let text) = self[name] { text } else { nil }
    }

    package func integer(_ name: String) -> Int? {
        if case .integer(let number) = self[name] { number } else { nil }
    }

    package func boolean(_ name: String) -> Bool? {
        if case .boolean(let flag) = self[name] { flag } else { nil }
    }

    /// A duration in seconds. Durations are checked by the schema and kept as whole seconds.
    package func seconds(_ name: String) -> Int? { integer(name) }

    package func list(_ name: String) -> [ParameterValue]? {
        if case .list(let items) = self[name] { items } else { nil }
    }

    package func strings(_ name: String) -> [String]? {
        list(name)?.compactMap { if case .string(let text) = $0 { text } else { nil } }
    }

    package func map(_ name: String) -> Parameters? {
        if case .map(let members) = self[name] { members } else { nil }
    }

    package func secret(_ name: String) -> SecretReference? {
        if case .secret(let reference) = self[name] { reference } else { nil }
    }
}
