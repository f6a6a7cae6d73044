import Foundation
import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

// The rules of the terminal: data goes to standard output, everything else to standard error; messages begin with the
// program's name, in lower case and without a full stop; colour only where standard output is a terminal that wants it.

enum Terminal {
    static func print(_ text: String) { write(text + "\n", to: .standardOutput) }

    static func print(bytes: [UInt8]) { try? FileHandle.standardOutput.write(contentsOf: bytes) }

    /// Something to say that is not data. A line of progress makes room for it.
    static func tell(_ text: String) {
        progress.withLock { line in
            write((line.isEmpty ? "" : eraseLine) + text + "\n" + line, to: .standardError)
        }
    }

    /// Puts a line of progress in place of the last one; an empty one takes it away.
    static func show(progress text: String) {
        guard errorIsTerminal, ProcessInfo.processInfo.environment["TERM"] != "dumb" else { return }
        progress.withLock { line in
            guard line != text else { return }
            line = text
            write(eraseLine + text, to: .standardError)
        }
    }

    private static let progress = Mutex("")
    private static let eraseLine = "\r\u{1B}[K"

    static func complain(_ failure: CommandFailure) {
        tell("keyturn: \(failure.message)")
        if !failure.advice.isEmpty { tell("keyturn: \(failure.advice)") }
    }

    static var outputIsTerminal: Bool { isatty(STDOUT_FILENO) == 1 }
    static var errorIsTerminal: Bool { isatty(STDERR_FILENO) == 1 }
    static var inputIsTerminal: Bool { isatty(STDIN_FILENO) == 1 }

    static func wantsColor(_ refused: Bool) -> Bool {
        !refused && outputIsTerminal && ProcessInfo.processInfo.environment["NO_COLOR"] == nil
            && ProcessInfo.processInfo.environment["TERM"] != "dumb"
    }

    // A closed pipe ends the data and is nobody's error.
    private static func write(_ text: String, to handle: FileHandle) { try? handle.write(contentsOf: Data(text.utf8)) }
}

/// Colours by meaning.
enum Color: String {
    case bad = "31"
    case warning = "33"
    case good = "32"
    case faint = "2"

    func paint(_ text: String) -> String { "\u{1B}[\(rawValue)m\(text)\u{1B}[0m" }
}
