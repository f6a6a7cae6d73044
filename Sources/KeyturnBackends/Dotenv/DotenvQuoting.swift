/// The ways to write a value so that python-dotenv and a POSIX shell read the same.
///
/// In single quotation marks a shell takes everything as it is, and python-dotenv takes `\\` and `\'` for one
/// character; in double ones a shell follows `$` and the backquote. So there are values that no quoting carries to both.
/// See https://pubs.opengroup.org/onlinepubs/9799919799/utilities/V3_chap02.html#tag_19_02
enum DotenvQuoting {
    enum Outcome: Equatable {
        case quoted(String)
        /// Why there is no way, in words that go on after "the value".
        case impossible(String)
    }

    static func quote(_ value: String) -> Outcome {
        // Not characters: a mark that joins another one would hide it.
        let scalars = Array(value.unicodeScalars)
        if scalars.contains("\0") { return .impossible("holds a NUL, which no variable can") }
        if scalars.contains("\r") { return .impossible("holds a carriage return, which Python reads as a line feed") }
        if isFollowed(scalars) { return .impossible("holds '${...}', which python-dotenv replaces") }
        if !scalars.isEmpty, scalars.allSatisfy(isPlain) { return .quoted(value) }
        let hasPair = zip(scalars, scalars.dropFirst()).contains { $0 == "\\" && $1 == "\\" }
        if !scalars.contains("'"), !hasPair, scalars.last != "\\" { return .quoted("'\(value)'") }
        if !scalars.contains("$"), !scalars.contains("`") {
            var escaped = String.UnicodeScalarView()
            for scalar in scalars {
                if scalar == "\\" || scalar == "\"" { escaped.append("\\") }
                escaped.append(scalar)
            }
            return .quoted("\"\(String(escaped))\"")
        }
        return .impossible(
            "holds '$' or a backquote beside a single quotation mark or backslashes that only other quotes carry")
    }

    /// Means itself everywhere without quotation marks.
    private static func isPlain(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar {
        case "a"..."z", "A"..."Z", "0"..."9", "_", "-", ".", "/", "+", "=", ":", ",", "@", "%": true
        default: false
        }
    }

    /// Whether python-dotenv finds a reference in it: `${NAME}` or `${NAME:-DEFAULT}`, in any quotation marks.
    private static func isFollowed(_ text: [Unicode.Scalar]) -> Bool {
        text.indices.contains { begin in
            guard text[begin...].starts(with: ["$", "{"]) else { return false }
            guard let stop = text[(begin + 2)...].firstIndex(where: { $0 == "}" || $0 == ":" }) else { return false }
            return text[stop] == "}" || (text[stop...].starts(with: [":", "-"]) && text[stop...].contains("}"))
        }
    }
}
