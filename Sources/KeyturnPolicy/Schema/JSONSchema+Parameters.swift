package import KeyturnCore

extension JSONSchema {
    /// The schema of an object with these parameters, as ``DocumentReader`` takes them.
    ///
    /// - Parameter also: members beside them.
    package init(_ parameters: ParameterSchema, also: [String: JSONSchema] = [:]) {
        self.init(.object)
        properties = Dictionary(
            parameters.fields.map { field in
                var schema = JSONSchema(field.kind)
                schema.description = field.summary
                schema.fallback = field.fallback.flatMap { Constant($0, as: field.kind) }
                return (field.name, schema)
            }
        ) { first, _ in first }.merging(also) { first, _ in first }
        required = parameters.fields.filter(\.required).map(\.name)
        others = .refused
    }

    package init(_ kind: ParameterKind) {
        self.init()
        switch kind {
        case .string(let minimum):
            type = .string
            minimumLength = minimum
        case .integer(let range):
            type = .integer
            self.range = range
        case .boolean: type = .boolean
        case .duration:
            type = .string
            pattern = "^([0-9]+w)?([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?$"
            minimumLength = 2
        case .choice(let words):
            type = .string
            choices = words
        case .list(let kind, let minimum):
            type = .array
            entries = [JSONSchema(kind)]
            minimumCount = minimum > 0 ? minimum : nil
        case .object(let parameters): self.init(parameters)
        case .stringMap:
            type = .object
            others = .each(JSONSchema(.string))
        case .secret: self = .secretReference
        case .path:
            type = .string
            minimumLength = 1
        case .url:
            type = .string
            pattern = "^[Hh][Tt][Tt][Pp][Ss]?://"
        case .command:
            type = .array
            entries = [JSONSchema(.string)]
            minimumCount = 1
        case .either(let kinds): anyOf = kinds.map { JSONSchema($0) }
        case .any: break
        }
    }

    /// One of the forms of ``SecretReference``.
    private static var secretReference: JSONSchema {
        var command = JSONSchema(ParameterKind.command)
        command.description = "A program whose standard output it is."
        func text(_ description: String) -> JSONSchema {
            var schema = JSONSchema(.string)
            schema.minimumLength = 1
            schema.description = description
            return schema
        }
        var schema = JSONSchema(.object)
        schema.properties = [
            "env": text("A variable of the environment."), "file": text("A file that others can't read."),
            "command": command, "vault": text("A secret that Keyturn itself keeps."),
        ]
        schema.others = .refused
        schema.minimumMembers = 1
        schema.maximumMembers = 1
        return schema
    }
}

extension JSONSchema.Constant {
    /// A default as it would be written; `nil` for one that is no single word.
    fileprivate init?(_ value: ParameterValue, as kind: ParameterKind) {
        switch (value, kind) {
        case (.integer(let seconds), .duration):
            guard let duration = PolicyDuration(seconds: Int64(seconds)) else { return nil }
            self = .text(duration.description)
        case (.integer(let number), _): self = .integer(number)
        case (.string(let text), _): self = .text(text)
        case (.boolean(let flag), _): self = .boolean(flag)
        case (.list, _), (.map, _), (.secret, _), (.decimal, _), (.null, _): return nil
        }
    }
}

extension JSONSchema {
    /// An object whose member `key` chooses, by its value, the schema of the others.
    ///
    /// - Parameters:
    ///   - common: members whatever the choice, beside `key`.
    ///   - choices: each value with the parameters that it brings.
    init(
        choosing key: String, _ description: String, common: ParameterSchema = ParameterSchema(),
        _ choices: [(String, ParameterSchema)]
    ) {
        self.init(.object)
        var chooser = JSONSchema(.string)
        chooser.description = description
        chooser.choices = choices.map(\.0)
        properties = [key: chooser]
        required = [key]
        rules = choices.map { value, parameters in
            var constant = JSONSchema()
            constant.constant = .text(value)
            var condition = JSONSchema()
            condition.properties = [key: constant]
            condition.required = [key]
            let whole = ParameterSchema(common.fields.filter { $0.name != key } + parameters.fields)
            return Rule(condition: condition, then: JSONSchema(whole, also: [key: JSONSchema(.string)]))
        }
    }
}
