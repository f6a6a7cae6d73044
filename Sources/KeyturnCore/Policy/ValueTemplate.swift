/// The form in which a backend stores a key: literal text with `{{field}}` placeholders.
///
/// `{{value}}` stands for the whole key, other names for fields of the key material. In a template that begins with `{`
/// or `[` a placeholder is escaped as the inside of a JSON string, so that no value can change the document around it.
/// `{{field|base64}}` gives base64, `{{field|json}}` a whole JSON string with its quotes, `{{field|raw}}` the bytes as
/// they are.
package struct ValueTemplate: Sendable, Hashable {
    package enum Filter: String, Sendable, CaseIterable {
        case raw
        case base64
        case json
        /// The inside of a JSON string, without the quotes.
        case jsonInside
    }

    package enum Part: Sendable, Hashable {
        case literal(String)
        case placeholder(field: String, filter: Filter)
    }

    package let text: String
    package let parts: [Part]

    /// - Throws: a reason when a placeholder is not closed, is empty, or names an unknown filter.
    package init(_ text: String) throws(InvalidTemplate) {
        self.text = text
        let isJSON = text.first { !$0.isWhitespace }.map { $0 == "{" || $0 == "[" } ?? false
        // `{{` at the very start of a template is a placeholder, not JSON.
        let opensWithPlaceholder = text.drop { $0.isWhitespace }.hasPrefix("{{")
        let usual: Filter = isJSON && !opensWithPlaceholder ? .jsonInside : .raw
        var parts: [Part] = []
        var rest = Substring(text)
        while let opening = rest.firstRange(of: "{{") {
            if opening.lowerBound > rest.startIndex { parts.append(.literal(String(rest[..<opening.lowerBound]))) }
            let inside = rest[opening.upperBound...]
            guard let closing = inside.firstRange(of: "}}") else {
                throw InvalidTemplate(reason: "a placeholder is opened by '{{' and never closed by '}}'")
            }
            parts.append(try Self.placeholder(inside[..<closing.lowerBound], usual: usual))
            rest = inside[closing.upperBound...]
        }
        if !rest.isEmpty { parts.append(.literal(String(rest))) }
        self.parts = parts
    }

    /// The names of the fields it uses.
    package var fields: Set<String> {
        Set(parts.compactMap { if case .placeholder(let field, _) = $0 { field } else { nil } })
    }

    /// Puts the key in.
    ///
    /// - Throws: when the material lacks a field, or a field that goes into JSON is not UTF-8.
    package func render(_ material: KeyMaterial) throws(InvalidTemplate) -> SecretValue {
        var bytes: [UInt8] = []
        defer { for index in bytes.indices { bytes[index] = 0 } }
        for part in parts {
            switch part {
            case .literal(let text): bytes.append(contentsOf: text.utf8)
            case .placeholder(let field, let filter):
                guard let value = material.fields[field] else {
                    throw InvalidTemplate(reason: "the key has no field '\(field)'")
                }
                bytes.append(contentsOf: try filter.apply(to: value, field: field))
            }
        }
        return SecretValue(bytes)
    }

    private static func placeholder(_ inside: Substring, usual: Filter) throws(InvalidTemplate) -> Part {
        let words = inside.split(separator: "|", omittingEmptySubsequences: false).map { word in
            word.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed()
        }.map { String($0) }
        guard let field = words.first, !field.isEmpty, field.utf8.allSatisfy(isNameByte) else {
            throw InvalidTemplate(reason: "a placeholder must name a field, such as {{value}}")
        }
        guard words.count <= 2 else { throw InvalidTemplate(reason: "{{\(field)}} has more than one filter") }
        guard words.count == 2 else { return .placeholder(field: field, filter: usual) }
        guard let filter = Filter(rawValue: words[1]), filter != .jsonInside else {
            throw InvalidTemplate(reason: "{{\(field)}} has an unknown filter; there are raw, base64 and json")
        }
        return .placeholder(field: field, filter: filter)
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: false
        }
    }
}

/// Why a text can't be a template, or a template can't take a key.
package struct InvalidTemplate: Error, Equatable, CustomStringConvertible {
    package let reason: String

    package init(reason: String) { self.reason = reason }

    package var description: String { reason }
}
