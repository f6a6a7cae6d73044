import Foundation

/// The form in which a backend stores a key: literal text with `{{field}}` placeholders.
///
/// `{{value}}` stands for the whole key, other names for fields of the key material. No value changes what stands around
/// it: in JSON a placeholder is escaped as the inside of a string; in a line such as `NAME={{value}}` or `name: {{value}}`
/// a value that would end the line, or the quotation marks around it, is refused. Anywhere else the bytes stand as they
/// are. `{{field|base64}}` gives base64, `{{field|json}}` a whole JSON string with its quotes, `{{field|shell}}` a word
/// for a shell, `{{field|raw}}` the bytes whatever stands around.
package struct ValueTemplate: Sendable, Hashable {
    package enum Part: Sendable, Hashable {
        case literal(String)
        case placeholder(field: String, filter: Filter)
    }

    package let text: String
    package let parts: [Part]

    /// - Throws: a reason when a placeholder is not closed, is empty, or names an unknown filter, and when a template that
    ///   begins like JSON is none.
    package init(_ text: String) throws(InvalidTemplate) {
        self.text = text
        let begin = text.drop { $0.isWhitespace }
        // `{{` at the very start of a template is a placeholder, not JSON.
        if (begin.hasPrefix("{") && !begin.hasPrefix("{{")) || begin.hasPrefix("[") {
            let parts = try Self.parts(text) { _ in .jsonInside }
            let problem = TemplateProbe(parts).problemAsJSON
            // A file of sections begins with a bracket too.
            if problem == nil || begin.hasPrefix("{") {
                if let problem { throw InvalidTemplate(reason: problem) }
                self.parts = parts
                isJSON = true
                return
            }
        }
        parts = try Self.parts(text) { Surroundings(before: $0).filter }
        isJSON = false
    }

    /// Whether it is JSON, so that consumers parse it.
    package let isJSON: Bool

    /// What is allowed and may still not be meant.
    package var cautions: [String] {
        guard isJSON else { return [] }
        let raw = parts.compactMap { if case .placeholder(let field, .raw) = $0 { field } else { nil } }
        return raw.map {
            "{{\($0)|raw}} puts a value into JSON as it is: it can change the document; leave '|raw' out where it is text"
        }
    }

    /// - Parameter usual: the filter of a placeholder without one, by the text of its line before it. Other placeholders
    ///   stand there as NUL.
    private static func parts(
        _ text: String, usual: (_ before: String) -> Filter
    ) throws(InvalidTemplate) -> [Part] {
        var parts: [Part] = []
        var line = ""
        func pass(_ literal: Substring) {
            guard !literal.isEmpty else { return }
            parts.append(.literal(String(literal)))
            if let end = literal.lastIndex(where: \.isNewline) {
                line = String(literal[literal.index(after: end)...])
            } else {
                line += literal
            }
        }
        var rest = Substring(text)
        while let opening = rest.firstRange(of: "{{") {
            pass(rest[..<opening.lowerBound])
            let inside = rest[opening.upperBound...]
            guard let closing = inside.firstRange(of: "}}") else {
                throw InvalidTemplate(reason: "a placeholder is opened by '{{' and never closed by '}}'")
            }
            parts.append(try placeholder(inside[..<closing.lowerBound], usual: usual(line)))
            line += "\0"
            rest = inside[closing.upperBound...]
        }
        pass(rest)
        return parts
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
        guard let filter = Filter.named.first(where: { $0.rawValue == words[1] }) else {
            throw InvalidTemplate(reason: "{{\(field)}} has an unknown filter; there are raw, base64, json and shell")
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
