/// What one parameter may be.
package indirect enum ParameterKind: Sendable {
    /// A text, at least `minimumLength` characters.
    case string(minimumLength: Int = 1)
    case integer(ClosedRange<Int>)
    case boolean
    /// A duration such as `30s`; kept as whole seconds within the range.
    case duration(ClosedRange<Int>)
    case choice([String])
    case list(of: ParameterKind, minimumCount: Int = 0)
    /// A map with fixed members.
    case object(ParameterSchema)
    /// A map of names to texts.
    case stringMap
    /// A reference to a secret.
    case secret
    /// A path; relative ones are taken from the configuration file's folder and made absolute when loaded.
    case path
    /// `http://` or `https://` with a host. Plain `http://` to another machine needs `allowInsecure: true` beside it.
    case url
    /// A program and its arguments; a relative program with a slash is taken from the configuration file's folder.
    case command
    /// One of several shapes, tried in order.
    case either([ParameterKind])
    /// Anything YAML can say (strings, numbers, lists, maps).
    case any
}

/// One named parameter.
package struct ParameterField: Sendable {
    package let name: String
    package let kind: ParameterKind
    package let required: Bool
    /// What holds when it is absent; put in by the loader.
    package let fallback: ParameterValue?
    /// One sentence for people.
    package let summary: String

    package init(
        _ name: String, _ kind: ParameterKind, required: Bool = false, default fallback: ParameterValue? = nil,
        _ summary: String
    ) {
        self.name = name
        self.kind = kind
        self.required = required
        self.fallback = fallback
        self.summary = summary
    }
}

/// The parameters that a system takes, in the order in which they are shown.
package struct ParameterSchema: Sendable {
    /// Finds what the fields alone cannot see; gets parameters in which each field is right, and the environment.
    package typealias Check = @Sendable (Parameters, [String: String]) -> [ParameterProblem]

    package let fields: [ParameterField]
    package let check: Check

    package init(_ fields: [ParameterField] = [], check: @escaping Check = { _, _ in [] }) {
        self.fields = fields
        self.check = check
    }

    package var names: [String] { fields.map(\.name) }
}

/// Something wrong with parameters that the schema alone cannot see.
package struct ParameterProblem: Sendable, Equatable {
    /// The way to the parameter, such as `["classes", "digits"]` or `["recipients", "0"]`; empty for the whole.
    package let path: [String]
    package let message: String
    package let isWarning: Bool

    package init(path: [String], message: String, isWarning: Bool = false) {
        self.path = path
        self.message = message
        self.isWarning = isWarning
    }
}
