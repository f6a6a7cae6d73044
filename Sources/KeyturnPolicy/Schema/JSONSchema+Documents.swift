package import KeyturnCore

extension JSONSchema {
    /// The schema of keyturn.yaml.
    package static func configuration(_ catalog: SystemCatalog) -> JSONSchema {
        var document = JSONSchema(ConfigurationFields.root)
        document.isDocument = true
        document.title = "Configuration of Keyturn"
        let sections = [
            ("issuers", catalog.issuers.map { ($0.type, $0.configuration) }),
            ("backends", catalog.backends.map { ($0.type, $0.configuration) }),
            ("alerts", catalog.alerts.map { ($0.type, $0.configuration) }),
        ]
        for (section, types) in sections {
            var systems = JSONSchema(.object)
            systems.description = document.properties?[section]?.description
            systems.others = .each(JSONSchema(choosing: "type", "What it is.", types))
            document.properties?[section] = systems
        }
        return document
    }

    /// The schema of a policy.
    ///
    /// - Parameter configuration: whose issuers, backends and alert sinks may be named; any name and any parameters where
    ///   there is none.
    package static func policy(_ catalog: SystemCatalog, _ configuration: Configuration?) -> JSONSchema {
        var document = JSONSchema(PolicyFields.root)
        document.isDocument = true
        document.title = "Rotation policy of Keyturn"
        let issuerCheck = ("issuer", ParameterSchema())
        let checks = catalog.checks.map { ($0.type, $0.parameters) }
        document.properties?["verify"]?.entries = [JSONSchema(choosing: "type", "The check.", [issuerCheck] + checks)]
        document.properties?["retire"]?.properties?["health"]?.entries = [
            JSONSchema(choosing: "type", "The check.", checks)
        ]
        document.properties?["rotate"]?.oneOf = ["every", "cron"].map { name in
            var schema = JSONSchema()
            schema.required = [name]
            return schema
        }
        document.properties?["issue"]?.type = .object
        guard let configuration else {
            var entry = JSONSchema(PolicyFields.backend)
            entry.others = nil
            document.properties?["backends"]?.entries = [entry]
            return document
        }
        document.properties?["issuer"]?.choices = configuration.issuers.keys.sorted()
        document.properties?["alerts"]?.entries[0].choices = configuration.alerts.keys.sorted()
        document.properties?["backends"]?.entries = [
            JSONSchema(
                choosing: "name", "A backend of keyturn.yaml.", common: PolicyFields.backend,
                configuration.backends.sorted { $0.key < $1.key }.compactMap { name, system in
                    catalog.backends.first { $0.type == system.type }.map { (name, $0.target) }
                })
        ]
        document.rules = configuration.issuers.sorted { $0.key < $1.key }.compactMap { name, system in
            guard let type = catalog.issuers.first(where: { $0.type == system.type }) else { return nil }
            var constant = JSONSchema()
            constant.constant = .text(name)
            var condition = JSONSchema()
            condition.properties = ["issuer": constant]
            condition.required = ["issuer"]
            var then = JSONSchema()
            then.properties = ["issue": JSONSchema(type.issue)]
            if type.issue.fields.contains(where: \.required) { then.required = ["issue"] }
            return Rule(condition: condition, then: then)
        }
        return document
    }
}
