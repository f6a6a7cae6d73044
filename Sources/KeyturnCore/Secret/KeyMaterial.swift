import Foundation

/// What an issuer hands out for one version: one or several named fields, such as `accessKeyId` and `secretAccessKey`.
///
/// The field `value` is always there: it is what a backend stores when the policy gives no template.
package struct KeyMaterial: Sendable {
    /// The field that stands for the whole key.
    package static let valueField = "value"

    /// The fields by name. Names are words of `[A-Za-z0-9]`.
    package let fields: [String: SecretValue]

    /// The field `value`.
    package let value: SecretValue

    package init(value: SecretValue, fields: [String: SecretValue] = [:]) {
        self.value = value
        var all = fields
        all[Self.valueField] = value
        self.fields = all
    }

    /// A pair as AWS gives it: its two parts, and as the whole key the vendor's own JSON.
    package init(accessKeyID: String, secretAccessKey: String) {
        let (id, secret) = (SecretValue(utf8: accessKeyID), SecretValue(utf8: secretAccessKey))
        var json = Array("{\"accessKeyId\":".utf8) + id.jsonString + Array(",\"secretAccessKey\":".utf8)
        json += secret.jsonString + [UInt8(ascii: "}")]
        defer { for index in json.indices { json[index] = 0 } }
        self.init(value: SecretValue(json), fields: ["accessKeyId": id, "secretAccessKey": secret])
    }

    /// The bytes that are sealed into the journal: JSON of base64 fields, sorted by name.
    package func encoded() -> SecretValue {
        let members = fields.sorted { $0.key < $1.key }.map { name, value in
            "\"\(name)\":\"\(value.withUnsafeBytes { Data($0).base64EncodedString() })\""
        }
        return SecretValue(utf8: "{\(members.joined(separator: ","))}")
    }

    /// Reads what ``encoded()`` wrote; `nil` when the bytes are something else.
    ///
    /// No general reader of JSON: one would leave copies of the values behind in strings of its own.
    package init?(decoding sealed: SecretValue) {
        let decoded = sealed.withUnsafeBytes { bytes -> [String: SecretValue]? in
            var rest = bytes[...]
            var fields: [String: SecretValue] = [:]
            guard rest.popFirst() == UInt8(ascii: "{") else { return nil }
            repeat {
                guard let name = Self.popQuoted(&rest), rest.popFirst() == UInt8(ascii: ":"),
                    let text = Self.popQuoted(&rest), let value = Data(base64Encoded: Data(text))
                else { return nil }
                fields[String(decoding: name, as: UTF8.self)] = SecretValue(value)
            } while rest.first == UInt8(ascii: ",") && rest.popFirst() != nil
            return rest.elementsEqual("}".utf8) ? fields : nil
        }
        guard let decoded, let value = decoded[Self.valueField] else { return nil }
        self.init(value: value, fields: decoded)
    }

    /// Takes a text in quotation marks off the front; neither names nor base64 hold any that need an escape.
    private static func popQuoted(_ rest: inout Slice<UnsafeRawBufferPointer>) -> Slice<UnsafeRawBufferPointer>? {
        let mark = UInt8(ascii: "\"")
        guard rest.popFirst() == mark, let end = rest.firstIndex(of: mark) else { return nil }
        defer { rest = rest[(end + 1)...] }
        return rest[..<end]
    }

    /// Whether both hold the same fields with the same bytes.
    package func matches(_ other: KeyMaterial) -> Bool {
        guard fields.count == other.fields.count else { return false }
        var same = true
        for (name, value) in fields {
            guard let theirs = other.fields[name] else { return false }
            same = value.matches(theirs) && same
        }
        return same
    }
}
