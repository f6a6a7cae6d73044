import Foundation

/// JSON as scripts get it: sorted keys, times as RFC 3339 in UTC.
enum JSONText {
    static func pretty(_ value: some Encodable) throws -> String { try encode(value, [.prettyPrinted]) }

    /// One line, for lists of lines.
    static func line(_ value: some Encodable) throws -> String { try encode(value, []) }

    private static func encode(_ value: some Encodable, _ more: JSONEncoder.OutputFormatting) throws -> String {
        let encoder = JSONEncoder()
        encoder.outputFormatting = more.union([.sortedKeys, .withoutEscapingSlashes])
        encoder.dateEncodingStrategy = .iso8601
        return String(decoding: try encoder.encode(value), as: UTF8.self)
    }
}
