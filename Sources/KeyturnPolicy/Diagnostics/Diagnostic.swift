/// Something to say about a place in a file.
package struct Diagnostic: Sendable, Hashable, CustomStringConvertible {
    package enum Severity: String, Sendable, Hashable {
        case error
        case warning
    }

    /// As it is shown to people.
    package let file: String
    /// From 1.
    package let line: Int
    /// From 1.
    package let column: Int
    package let severity: Severity
    package let message: String

    package init(file: String, line: Int, column: Int, severity: Severity = .error, message: String) {
        self.file = Self.printable(file)
        self.line = line
        self.column = column
        self.severity = severity
        self.message = Self.printable(message)
    }

    /// With what would break the line, or steer the terminal that shows it, written out: a message may repeat a name
    /// from a file that anybody wrote.
    private static func printable(_ text: String) -> String {
        guard text.unicodeScalars.contains(where: isUnprintable) else { return text }
        var shown = ""
        for scalar in text.unicodeScalars {
            if isUnprintable(scalar) {
                shown += "\\u{\(String(scalar.value, radix: 16))}"
            } else {
                shown.unicodeScalars.append(scalar)
            }
        }
        return shown
    }

    private static func isUnprintable(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .lineSeparator, .paragraphSeparator: true
        // Marks that turn the direction of text around.
        case .format: (0x202A...0x202E).contains(scalar.value) || (0x2066...0x2069).contains(scalar.value)
        default: false
        }
    }

    package var description: String {
        "\(file):\(line):\(column): \(severity == .warning ? "warning: " : "")\(message)"
    }
}

extension [Diagnostic] {
    /// By file, line and column, each once.
    func inOrder() -> [Diagnostic] {
        Set(self).sorted { ($0.file, $0.line, $0.column, $0.message) < ($1.file, $1.line, $1.column, $1.message) }
    }
}
