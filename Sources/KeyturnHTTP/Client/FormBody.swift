package import KeyturnCore

/// Bodies of the type `application/x-www-form-urlencoded`.
package enum FormBody {
    package static let contentType = "application/x-www-form-urlencoded"

    /// Every byte that is not a letter, a digit or one of `-._~` is escaped, which every reader of forms takes.
    package static func encode(_ fields: [(name: String, value: String)]) -> SecretValue {
        SecretValue(utf8: fields.map { "\(escape($0.name))=\(escape($0.value))" }.joined(separator: "&"))
    }

    /// One name or value, for a form or a query.
    package static func escape(_ text: String) -> String { SigV4.encode(text, keepingSlash: false) }
}
