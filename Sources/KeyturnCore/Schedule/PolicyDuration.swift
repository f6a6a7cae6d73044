package import Foundation

/// A length of time as policies write it: whole seconds, positive, at most 100 years.
///
/// The text is a sum of parts, `1d12h`, each a whole number and a unit: `w` (7 days), `d` (24 hours), `h`, `m`
/// (minutes), `s`. Units go from large to small and each appears once. A day is always 86 400 seconds: a duration knows
/// no time zone. It prints in days, hours, minutes and seconds, so `2w` prints as `14d` and `90s` as `1m30s`.
package struct PolicyDuration: Hashable, Sendable {
    /// 100 Julian years (36 525 days), in seconds.
    package static let maximumSeconds: Int64 = 36_525 * 86_400

    /// Whole seconds, in `1...maximumSeconds`.
    package let seconds: Int64

    /// `nil` when `seconds` is not in `1...maximumSeconds`.
    package init?(seconds: Int64) {
        guard (1...Self.maximumSeconds).contains(seconds) else { return nil }
        self.seconds = seconds
    }

    /// The same length in seconds, for arithmetic on `Date`.
    package var timeInterval: TimeInterval { TimeInterval(seconds) }
}

extension PolicyDuration: Comparable {
    package static func < (left: PolicyDuration, right: PolicyDuration) -> Bool { left.seconds < right.seconds }
}

extension PolicyDuration: CustomStringConvertible {
    /// The canonical text, which parses to the same duration.
    package var description: String {
        var rest = seconds
        var text = ""
        for (letter, size) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] as [(String, Int64)] where rest >= size
        {
            text += "\(rest / size)\(letter)"
            rest %= size
        }
        return text
    }
}

extension PolicyDuration: Codable {
    /// Decodes the text form, such as `"1d12h"`.
    package init(from decoder: any Decoder) throws {
        try self.init(decoder.singleValueContainer().decode(String.self))
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
