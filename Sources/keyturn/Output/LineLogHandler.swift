import Foundation
import Logging

/// Logs one line an event to standard error: time, level, message, then `key=value` sorted by key.
struct LineLogHandler: LogHandler {
    var logLevel: Logger.Level
    var metadata: Logger.Metadata = [:]

    subscript(metadataKey key: String) -> Logger.MetadataValue? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        let all = metadata.merging(event.metadata ?? [:]) { _, new in new }
        let facts = all.sorted { $0.key < $1.key }.map { "\($0.key)=\(Self.quoted("\($0.value)"))" }
        Terminal.tell(
            (["\(TimeText.utc(Date()))", "\(event.level)", "\(event.message)"] + facts).joined(separator: " "))
    }

    /// A value with spaces or quotes is quoted, so that a line can be taken apart again.
    private static func quoted(_ text: String) -> String {
        let needs = text.isEmpty || text.contains { $0 == " " || $0 == "\"" || $0 == "=" || $0.isNewline }
        guard needs else { return text }
        let escaped = text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"").replacing("\n", with: "\\n")
        return "\"\(escaped)\""
    }
}
