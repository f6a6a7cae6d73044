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
        self.file = file
        self.line = line
        self.column = column
        self.severity = severity
        self.message = message
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
