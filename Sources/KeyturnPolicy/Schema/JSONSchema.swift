/// A schema in the words of [JSON Schema, draft 7](https://json-schema.org/draft-07/json-schema-validation), which the
/// YAML support of editors knows best. It encodes to the JSON of the standard.
package struct JSONSchema: Encodable, Sendable {
    package enum Primitive: String, Encodable, Sendable {
        case string, integer, boolean, object, array, null, number
    }

    package enum Constant: Encodable, Sendable {
        case text(String)
        case integer(Int)
        case boolean(Bool)

        package func encode(to encoder: any Encoder) throws {
            var container = encoder.singleValueContainer()
            switch self {
            case .text(let text): try container.encode(text)
            case .integer(let number): try container.encode(number)
            case .boolean(let flag): try container.encode(flag)
            }
        }
    }

    /// What a member without an entry in ``properties`` may be.
    package indirect enum Others: Sendable {
        case refused
        case each(JSONSchema)
    }

    /// `then` holds where `condition` does.
    package struct Rule: Sendable {
        package let condition: JSONSchema
        package let then: JSONSchema
    }

    package var title: String?
    package var description: String?
    package var type: Primitive?
    package var choices: [String]?
    package var constant: Constant?
    package var fallback: Constant?
    package var pattern: String?
    package var minimumLength: Int?
    package var range: ClosedRange<Int>?
    package var minimumCount: Int?
    package var properties: [String: JSONSchema]?
    package var required: [String] = []
    package var others: Others?
    package var minimumMembers: Int?
    package var maximumMembers: Int?
    package var anyOf: [JSONSchema] = []
    package var oneOf: [JSONSchema] = []
    package var rules: [Rule] = []
    /// The schema of a list's entries; empty for any, else one.
    package var entries: [JSONSchema] = []
    /// Whether it stands for a whole document.
    package var isDocument = false

    package init(_ type: Primitive? = nil) { self.type = type }

    private enum CodingKeys: String, CodingKey {
        case schema = "$schema"
        case title, description, type, pattern, minLength, minimum, maximum, minItems, properties, required
        case minProperties, maxProperties, anyOf, oneOf, allOf, items, additionalProperties
        case `if`, then
        case choices = "enum"
        case constant = "const"
        case fallback = "default"
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        if isDocument { try container.encode("http://json-schema.org/draft-07/schema#", forKey: .schema) }
        try container.encodeIfPresent(title, forKey: .title)
        try container.encodeIfPresent(description, forKey: .description)
        try container.encodeIfPresent(type, forKey: .type)
        try container.encodeIfPresent(choices, forKey: .choices)
        try container.encodeIfPresent(constant, forKey: .constant)
        try container.encodeIfPresent(fallback, forKey: .fallback)
        try container.encodeIfPresent(pattern, forKey: .pattern)
        try container.encodeIfPresent(minimumLength, forKey: .minLength)
        try container.encodeIfPresent(range?.lowerBound, forKey: .minimum)
        try container.encodeIfPresent(range?.upperBound, forKey: .maximum)
        try container.encodeIfPresent(minimumCount, forKey: .minItems)
        try container.encodeIfPresent(properties, forKey: .properties)
        if !required.isEmpty { try container.encode(required, forKey: .required) }
        switch others {
        case .refused: try container.encode(false, forKey: .additionalProperties)
        case .each(let schema): try container.encode(schema, forKey: .additionalProperties)
        case nil: break
        }
        try container.encodeIfPresent(minimumMembers, forKey: .minProperties)
        try container.encodeIfPresent(maximumMembers, forKey: .maxProperties)
        if !anyOf.isEmpty { try container.encode(anyOf, forKey: .anyOf) }
        if !oneOf.isEmpty { try container.encode(oneOf, forKey: .oneOf) }
        if !rules.isEmpty {
            var all = container.nestedUnkeyedContainer(forKey: .allOf)
            for rule in rules {
                var parts = all.nestedContainer(keyedBy: CodingKeys.self)
                try parts.encode(rule.condition, forKey: .if)
                try parts.encode(rule.then, forKey: .then)
            }
        }
        if let entries = entries.first { try container.encode(entries, forKey: .items) }
    }
}
