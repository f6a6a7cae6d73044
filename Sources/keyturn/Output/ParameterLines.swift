import KeyturnCore

/// Parameters as people read them: a line each, members of objects under their dotted names.
enum ParameterLines {
    static func table(_ schema: ParameterSchema) -> Table {
        var table = Table("PARAMETER", "IS", "WHEN ABSENT", "MEANING")
        add(schema, under: "", to: &table)
        return table
    }

    private static func add(_ schema: ParameterSchema, under prefix: String, to table: inout Table) {
        for field in schema.fields {
            let name = prefix + field.name
            table.add(
                name, words(field.kind), field.required ? "required" : fallback(field) ?? "-", field.summary)
            for nested in objects(field.kind) { add(nested, under: "\(name).", to: &table) }
        }
    }

    private static func objects(_ kind: ParameterKind) -> [ParameterSchema] {
        switch kind {
        case .object(let schema): [schema]
        case .either(let kinds): kinds.flatMap(objects)
        case .list(let kind, _): objects(kind)
        case .string, .integer, .boolean, .duration, .choice, .stringMap, .secret, .path, .url, .command, .any: []
        }
    }

    private static func words(_ kind: ParameterKind) -> String {
        switch kind {
        case .string: "text"
        case .integer(let range): "\(range.lowerBound) to \(range.upperBound)"
        case .boolean: "true, false"
        case .duration(let range): "\(duration(range.lowerBound)) to \(duration(range.upperBound))"
        case .choice(let choices): choices.joined(separator: ", ")
        case .list(let kind, _): "list: \(words(kind))"
        case .object: "map"
        case .stringMap: "map of texts"
        case .secret: "reference"
        case .path: "path"
        case .url: "URL"
        case .command: "program"
        case .either(let kinds): kinds.map(words).joined(separator: " or ")
        case .any: "anything"
        }
    }

    private static func fallback(_ field: ParameterField) -> String? {
        switch (field.fallback, field.kind) {
        case (.integer(let seconds), .duration): duration(seconds)
        case (.integer(let number), _): String(number)
        case (.string(let text), _): text
        case (.boolean(let flag), _): String(flag)
        case (.list(let items), _): items.isEmpty ? "none" : "\(items.count) entries"
        case (.map, _): "a map"
        case (.secret, _), (.decimal, _), (.null, _), (nil, _): nil
        }
    }

    private static func duration(_ seconds: Int) -> String {
        PolicyDuration(seconds: Int64(seconds))?.description ?? "0s"
    }
}
