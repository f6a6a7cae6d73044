import Foundation

/// What stands on a placeholder's line before it, and so how a value has to be kept from changing it.
struct Surroundings {
    let filter: ValueTemplate.Filter

    init(before line: String) {
        guard let (isForShellOrYAML, rest) = Self.assignment(line) else {
            filter = .raw
            return
        }
        var quote: Character?
        var isEscaped = false
        for character in rest {
            if isEscaped {
                isEscaped = false
            } else if character == "\\", quote != "'" {
                isEscaped = true
            } else if let open = quote {
                if character == open { quote = nil }
            } else if character == "'" || character == "\"" {
                quote = character
            }
        }
        filter =
            switch quote {
            case "'": .insideSingle
            case "\"": .insideDouble
            default: isForShellOrYAML ? .word : .line
            }
    }

    /// What stands behind `NAME=`, `export NAME=` or `name: `.
    private static func assignment(_ line: String) -> (isForShellOrYAML: Bool, rest: Substring)? {
        var rest = line.drop { $0 == " " || $0 == "\t" }
        let isExport = rest.hasPrefix("export ")
        if isExport { rest = rest.dropFirst("export ".count).drop { $0 == " " } }
        let name = rest.prefix { $0.isASCII && ($0.isLetter || $0.isNumber || "_.-".contains($0)) }
        guard !name.isEmpty else { return nil }
        rest = rest.dropFirst(name.count)
        if rest.hasPrefix(":") {
            let value = rest.dropFirst()
            return value.isEmpty || value.first == " " ? (true, value) : nil
        }
        rest = rest.drop { $0 == " " }
        return rest.hasPrefix("=") ? (isExport, rest.dropFirst()) : nil
    }
}

/// Fills a template with harmless and with nasty values, to see whether they can change the document around them.
struct TemplateProbe {
    private let parts: [ValueTemplate.Part]

    init(_ parts: [ValueTemplate.Part]) { self.parts = parts }

    private static let samples = [
        "x", "\"", "\\", "1", "null", "a\": \"b", "],[", "\n\u{1}\u{7F}", "{{value}}", "✓'<&",
    ]

    /// Why it is not JSON that stays as it is; `nil` when it is.
    var problemAsJSON: String? {
        guard parts.contains(where: { if case .placeholder = $0 { true } else { false } }) else { return nil }
        var first: String?
        for sample in Self.samples {
            guard let document = document(sample) else { return Self.advice(parts) }
            let shape = Self.shape(document)
            guard shape == first ?? shape else { return Self.advice(parts) }
            first = shape
        }
        return nil
    }

    private func document(_ sample: String) -> Any? {
        let value = SecretValue(utf8: sample)
        var bytes: [UInt8] = []
        for part in parts {
            switch part {
            case .literal(let text): bytes += text.utf8
            // What is asked for as it is may be anything; a digit can stand in a string and by itself.
            case .placeholder(_, .raw): bytes.append(UInt8(ascii: "0"))
            case .placeholder(let field, let filter):
                guard let filled = try? filter.apply(to: value, field: field) else { return nil }
                bytes += filled
            }
        }
        return try? JSONSerialization.jsonObject(with: Data(bytes))
    }

    /// The document without its texts.
    private static func shape(_ document: Any) -> String {
        switch document {
        case let members as [String: Any]:
            "{" + members.map { shape($0.value) }.sorted().joined(separator: ",") + "}"
        case let items as [Any]: "[" + items.map(shape).joined(separator: ",") + "]"
        case is String: "s"
        default: "\(document)"
        }
    }

    private static func advice(_ parts: [ValueTemplate.Part]) -> String {
        let field = parts.lazy.compactMap { if case .placeholder(let field, _) = $0 { field } else { nil } }.first
        let name = field ?? KeyMaterial.valueField
        return
            "it begins like JSON and is none: write \"{{\(name)}}\" with quotation marks around it, or {{\(name)|json}}"
            + " without them"
    }
}
