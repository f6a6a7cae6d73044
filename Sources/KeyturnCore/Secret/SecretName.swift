/// The name of a managed secret: `team/service-key`, segments of `[a-z0-9._-]` joined by `/`.
///
/// A segment is neither empty nor made of dots alone, and does not begin with a dot, so that a name can be a relative
/// path in a backend and never leaves its folder. At most 200 bytes.
package struct SecretName: Hashable, Sendable, Comparable, CustomStringConvertible {
    package static let maximumLength = 200

    package let text: String

    package init(_ text: String) throws(InvalidSecretName) {
        guard !text.isEmpty else { throw InvalidSecretName(text: text, reason: "it is empty") }
        guard text.utf8.count <= Self.maximumLength else {
            throw InvalidSecretName(text: text, reason: "it is longer than \(Self.maximumLength) bytes")
        }
        for segment in text.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false) {
            guard let first = segment.first else {
                throw InvalidSecretName(text: text, reason: "a segment between slashes is empty")
            }
            guard first != UInt8(ascii: ".") else {
                throw InvalidSecretName(text: text, reason: "a segment begins with a dot")
            }
            guard segment.allSatisfy(Self.isAllowed) else {
                throw InvalidSecretName(
                    text: text, reason: "a segment may hold only lower-case letters, digits, '.', '_' and '-'")
            }
        }
        self.text = text
    }

    /// The segments between the slashes, at least one.
    package var segments: [Substring] { text.split(separator: "/") }

    package var description: String { text }

    package static func < (left: SecretName, right: SecretName) -> Bool { left.text < right.text }

    private static func isAllowed(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "."),
            UInt8(ascii: "_"), UInt8(ascii: "-"):
            true
        default: false
        }
    }
}

/// A text that cannot be the name of a secret, and why.
package struct InvalidSecretName: Error, Equatable, CustomStringConvertible {
    package let text: String
    package let reason: String

    package var description: String { "\"\(text)\" is not a secret's name: \(reason)" }
}

extension SecretName: Codable {
    package init(from decoder: any Decoder) throws {
        try self.init(decoder.singleValueContainer().decode(String.self))
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(text)
    }
}
