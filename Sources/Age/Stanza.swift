import Foundation

/// One recipient's part of a header: `-> TYPE ARGUMENT...` and a body that holds the wrapped file key.
package struct Stanza: Sendable, Equatable {
    package let type: String
    package let arguments: [String]
    package let body: [UInt8]

    package init(type: String, arguments: [String], body: [UInt8]) {
        self.type = type
        self.arguments = arguments
        self.body = body
    }
}

/// Wraps the file key for one reader.
package protocol Recipient: Sendable {
    /// - Parameter fileKey: 16 bytes.
    func wrap(_ fileKey: [UInt8]) throws(AgeError) -> Stanza
    /// Whether a file may have no other recipient besides.
    var standsAlone: Bool { get }
}

extension Recipient {
    package var standsAlone: Bool { false }
}

/// Unwraps the file key for one reader.
package protocol Identity: Sendable {
    /// Gives the file key of 16 bytes; `nil` when the stanza is for somebody else, and the search goes on with the next.
    ///
    /// - Throws: when the stanza is of this identity's type and malformed: the file is refused.
    func unwrap(_ stanza: Stanza) throws(AgeError) -> [UInt8]?
}

/// Base64 as age has it: standard alphabet, no padding, and only the one spelling of each value.
enum CanonicalBase64 {
    static func encode(_ bytes: some Sequence<UInt8>) -> String {
        Data(bytes).base64EncodedString().replacing("=", with: "")
    }

    static func decode(_ text: some StringProtocol) -> [UInt8]? {
        guard !text.utf8.contains(UInt8(ascii: "=")), text.utf8.count % 4 != 1 else { return nil }
        let padding = String(repeating: "=", count: (4 - text.utf8.count % 4) % 4)
        guard let data = Data(base64Encoded: text + padding), encode(data) == text else { return nil }
        return Array(data)
    }
}
