/// What is built in, as `validate` sees it: the types of issuers, backends, checks and alert sinks with their schemas.
/// The registries of the modules that implement them fill it.
package struct SystemCatalog: Sendable {
    package let issuers: [IssuerDescription]
    package let backends: [BackendDescription]
    package let alerts: [AlertDescription]
    package let checks: [CheckDescription]

    package init(
        issuers: [IssuerDescription], backends: [BackendDescription], alerts: [AlertDescription],
        checks: [CheckDescription]
    ) {
        self.issuers = issuers
        self.backends = backends
        self.alerts = alerts
        self.checks = checks
    }
}

/// A type of issuer: `type:` in keyturn.yaml.
package struct IssuerDescription: Sendable {
    package let type: String
    package let summary: String
    /// Parameters under `issuers:` in keyturn.yaml, beside `type`.
    package let configuration: ParameterSchema
    /// Parameters under `issue:` in a policy.
    package let issue: ParameterSchema
    package let traits: IssuerTraits
    /// The fields of the key material that a template may name, beside `value`.
    package let fields: [String]
    /// Finds what the schemas cannot see; gets the configuration and the policy's parameters and lifetime (seconds).
    package let check:
        @Sendable (_ configuration: Parameters, _ issue: Parameters, _ lifetime: Int64?) -> [ParameterProblem]

    package init(
        type: String, summary: String, configuration: ParameterSchema, issue: ParameterSchema, traits: IssuerTraits,
        fields: [String] = [],
        check: @escaping @Sendable (Parameters, Parameters, Int64?) -> [ParameterProblem] = { _, _, _ in [] }
    ) {
        self.type = type
        self.summary = summary
        self.configuration = configuration
        self.issue = issue
        self.traits = traits
        self.fields = fields
        self.check = check
    }
}

/// A type of backend.
package struct BackendDescription: Sendable {
    package let type: String
    package let summary: String
    package let configuration: ParameterSchema
    /// Parameters of a policy's backend entry, beside `name`, `path`, `template`, `required` and `overwrite`.
    package let target: ParameterSchema
    package let traits: BackendTraits
    /// What the system asks of a path; `nil` when it is fine, else the reason.
    package let checkPath: @Sendable (String) -> String?

    package init(
        type: String, summary: String, configuration: ParameterSchema, target: ParameterSchema,
        traits: BackendTraits, checkPath: @escaping @Sendable (String) -> String? = { _ in nil }
    ) {
        self.type = type
        self.summary = summary
        self.configuration = configuration
        self.target = target
        self.traits = traits
        self.checkPath = checkPath
    }
}

/// A type of alert sink.
package struct AlertDescription: Sendable {
    package let type: String
    package let summary: String
    package let configuration: ParameterSchema

    package init(type: String, summary: String, configuration: ParameterSchema) {
        self.type = type
        self.summary = summary
        self.configuration = configuration
    }
}

/// A type of check: `type:` under `verify:` in a policy.
package struct CheckDescription: Sendable {
    package let type: String
    package let summary: String
    package let parameters: ParameterSchema

    package init(type: String, summary: String, parameters: ParameterSchema) {
        self.type = type
        self.summary = summary
        self.parameters = parameters
    }
}
