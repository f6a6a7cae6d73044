import Foundation

extension ValueTemplate {
    package enum Filter: String, Sendable, CaseIterable {
        case raw
        case base64
        case json
        /// A word of a POSIX shell, in single quotation marks.
        case shell

        // The others are chosen by what stands around a placeholder, and have no name in a template.

        /// The inside of a JSON string, without the quotes.
        case jsonInside
        /// As it is, on one line: `NAME={{value}}`.
        case line
        /// As it is, between single quotation marks: `NAME='{{value}}'`.
        case insideSingle
        /// As it is, between double quotation marks: `NAME="{{value}}"`.
        case insideDouble
        /// As it is, where a shell or YAML reads it: `export NAME={{value}}`, `name: {{value}}`.
        case word

        /// Those that a template can name.
        static let named: [Filter] = [.raw, .base64, .json, .shell]
    }
}

extension ValueTemplate.Filter {
    /// The bytes that take the placeholder's place.
    func apply(to value: SecretValue, field: String) throws(InvalidTemplate) -> [UInt8] {
        switch self {
        case .raw: return value.exposedBytes()
        case .base64: return value.withUnsafeBytes { Array(Data($0).base64EncodedString().utf8) }
        case .json:
            try requireText(value, field)
            return value.jsonString
        case .jsonInside:
            try requireText(value, field)
            return Array(value.jsonString.dropFirst().dropLast())
        case .shell:
            guard !value.contains(where: { $0 == 0 }) else {
                throw InvalidTemplate(
                    reason: "field '\(field)' holds a NUL, which no shell can; use {{\(field)|base64}}")
            }
            return value.shellWord
        case .line, .insideSingle, .insideDouble, .word:
            guard !value.contains(where: changesWhatStandsAround) else {
                throw InvalidTemplate(
                    reason: "field '\(field)' holds \(whatIsRefused), which would change what stands around it;"
                        + " use \(wayOut(field))")
            }
            return value.exposedBytes()
        }
    }

    private func requireText(_ value: SecretValue, _ field: String) throws(InvalidTemplate) {
        guard value.isText else {
            throw InvalidTemplate(
                reason: "field '\(field)' is not UTF-8 and can't go into JSON; use {{\(field)|base64}}")
        }
    }

    private func changesWhatStandsAround(_ byte: UInt8) -> Bool {
        if byte < 0x20 || byte == 0x7F { return true }
        switch self {
        case .insideSingle: return byte == UInt8(ascii: "'")
        case .insideDouble: return "\"\\$`".utf8.contains(byte)
        case .word:
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"):
                return false
            default: return !"_./+=-".utf8.contains(byte)
            }
        default: return false
        }
    }

    private var whatIsRefused: String {
        switch self {
        case .insideSingle: "a quotation mark or a line break"
        case .insideDouble: "a quotation mark, a reverse solidus, a dollar, a backquote or a line break"
        case .word: "something else than letters, digits and _ . / + = -"
        default: "a line break or another control character"
        }
    }

    private func wayOut(_ field: String) -> String {
        guard self == .word else { return "{{\(field)|base64}}" }
        return "{{\(field)|shell}} in a shell, {{\(field)|json}} in YAML"
    }
}

extension SecretValue {
    var isText: Bool { exposedText() != nil }

    func contains(where isMeant: (UInt8) -> Bool) -> Bool { withUnsafeBytes { $0.contains(where: isMeant) } }

    /// A JSON string with its quotes. RFC 8259, section 7: the quotation mark, the reverse solidus and the control
    /// characters are escaped.
    package var jsonString: [UInt8] {
        var bytes: [UInt8] = [UInt8(ascii: "\"")]
        for byte in exposedBytes() {
            switch byte {
            case UInt8(ascii: "\""), UInt8(ascii: "\\"): bytes += [UInt8(ascii: "\\"), byte]
            case 0x0A: bytes += Array("\\n".utf8)
            case 0x0D: bytes += Array("\\r".utf8)
            case 0x09: bytes += Array("\\t".utf8)
            case 0..<0x20, 0x7F:
                let digits = String(byte, radix: 16)
                bytes += Array(("\\u00" + (digits.count == 1 ? "0" : "") + digits).utf8)
            default: bytes.append(byte)
            }
        }
        return bytes + [UInt8(ascii: "\"")]
    }

    /// A word of a POSIX shell: single quotation marks around all but such marks.
    var shellWord: [UInt8] {
        let mark = UInt8(ascii: "'")
        return [mark] + exposedBytes().flatMap { $0 == mark ? Array("'\\''".utf8) : [$0] } + [mark]
    }
}
