import Foundation

/// Times as people and scripts get them.
enum TimeText {
    /// RFC 3339 in UTC, to the second.
    static func utc(_ date: Date) -> String { date.formatted(.iso8601) }

    /// Local to a zone, with its offset: `2026-12-01 03:00 +01:00`.
    static func local(_ date: Date?, in zone: TimeZone) -> String {
        guard let date else { return "-" }
        var calendar = Calendar(identifier: .gregorian)
        calendar.timeZone = zone
        let parts = calendar.dateComponents([.year, .month, .day, .hour, .minute], from: date)
        let offset = zone.secondsFromGMT(for: date)
        let shift = abs(offset)
        let suffix = offset == 0 ? "Z" : "\(offset < 0 ? "-" : "+")\(two(shift / 3600)):\(two(shift % 3600 / 60))"
        return "\(parts.year ?? 0)-\(two(parts.month ?? 0))-\(two(parts.day ?? 0))"
            + " \(two(parts.hour ?? 0)):\(two(parts.minute ?? 0)) \(suffix)"
    }

    /// RFC 3339 local to a zone.
    static func rfc3339(_ date: Date, in zone: TimeZone) -> String {
        if zone.secondsFromGMT(for: date) == 0 { return utc(date) }
        return date.formatted(Date.ISO8601FormatStyle(timeZoneSeparator: .colon, timeZone: zone))
    }

    /// As policies name it: the library calls UTC by another name.
    static func name(of zone: TimeZone) -> String { zone.identifier == "GMT" ? "UTC" : zone.identifier }

    /// How far away: `12d 4h`, `35m`, `3h ago`.
    static func distance(_ seconds: TimeInterval) -> String {
        let whole = Int(abs(seconds))
        let text: String
        switch whole {
        case 0..<60: text = "\(whole)s"
        case 60..<3600: text = "\(whole / 60)m"
        case 3600..<86_400: text = "\(whole / 3600)h \(whole % 3600 / 60)m"
        default: text = "\(whole / 86_400)d \(whole % 86_400 / 3600)h"
        }
        return seconds < 0 ? "\(text) ago" : text
    }

    private static func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
}
