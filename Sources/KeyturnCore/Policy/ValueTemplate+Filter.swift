import Foundation

extension ValueTemplate.Filter {
    /// The bytes that take the placeholder's place.
    func apply(to value: SecretValue, field: String) throws(InvalidTemplate) -> [UInt8] {
        switch self {
        case .raw: return value.exposedBytes()
        case .base64: return value.withUnsafeBytes { Array(Data($0).base64EncodedString().utf8) }
        case .json: return [UInt8(ascii: "\"")] + (try escaped(value, field)) + [UInt8(ascii: "\"")]
        case .jsonInside: return try escaped(value, field)
        }
    }

    /// RFC 8259, section 7: the quotation mark, the reverse solidus and the control characters are escaped.
    private func escaped(_ value: SecretValue, _ field: String) throws(InvalidTemplate) -> [UInt8] {
        guard value.exposedText() != nil else {
            throw InvalidTemplate(
                reason: "field '\(field)' is not UTF-8 and can't go into JSON; use {{\(field)|base64}}")
        }
        var bytes: [UInt8] = []
        for byte in value.exposedBytes() {
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
        return bytes
    }
}
