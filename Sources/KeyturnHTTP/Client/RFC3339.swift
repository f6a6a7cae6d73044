package import Foundation

/// Times as services write them: RFC 3339, with or without fractions of a second, of which some write seven digits.
package enum RFC3339 {
    /// - Returns: the whole second.
    package static func parse(_ text: String) -> Date? {
        try? Date(text.replacing(#/\.\d+/#, with: ""), strategy: .iso8601)
    }
}
