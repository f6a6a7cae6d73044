import KeyturnCore

/// A `.env` file: assignments among comments and empty lines, read as python-dotenv reads them.
///
/// See https://github.com/theskumar/python-dotenv#file-format. Where python-dotenv skips a line that it can't read, this
/// says so: what one reader skips, another one may take for something else. References to other variables (`${NAME}`)
/// are not followed.
struct DotenvFile {
    /// A line that is none of a `.env` file.
    struct Problem: Error, Equatable {
        /// From 1 on.
        let line: Int
        let reason: String
    }

    struct Assignment {
        let name: String
        let line: Int
        /// `nil` for a name without an equals sign.
        let value: String?
        /// From the name to the end of the value, with quotation marks.
        fileprivate let span: Range<Int>
    }

    private let text: [Unicode.Scalar]
    let assignments: [Assignment]

    init(_ text: String) throws(Problem) {
        self.text = Array(text.unicodeScalars)
        var reader = Reader(text: self.text)
        assignments = try reader.read()
    }

    /// The one assignment of a variable.
    ///
    /// - Throws: when there are several: readers do not agree on which one counts.
    func assignment(of name: String) throws(Problem) -> Assignment? {
        let found = assignments.filter { $0.name == name }
        if found.count > 1 {
            let lines = found.map { String($0.line) }.joined(separator: " and ")
            throw Problem(line: found[1].line, reason: "\(name) is assigned more than once, in lines \(lines)")
        }
        return found.first
    }

    /// The text with the variable set to something quoted: in its place, or in a line of its own at the end. Everything
    /// else stays byte for byte.
    func setting(_ name: String, to quoted: String) throws(Problem) -> String {
        let assigned = Array("\(name)=\(quoted)".unicodeScalars)
        var result = text
        if let present = try assignment(of: name) {
            // A comment that touches the value would become a part of it.
            let touches = present.span.upperBound < text.count && text[present.span.upperBound] == "#"
            result.replaceSubrange(present.span, with: assigned + (touches ? [" "] : []))
        } else {
            let isCRLF = zip(text, text.dropFirst()).contains { $0 == "\r" && $1 == "\n" }
            let newline: [Unicode.Scalar] = isCRLF ? ["\r", "\n"] : ["\n"]
            if let last = text.last, last != "\n", last != "\r" { result += newline }
            result += assigned + newline
        }
        var string = String.UnicodeScalarView()
        string.append(contentsOf: result)
        return String(string)
    }
}

extension DotenvFile {
    private struct Reader {
        let text: [Unicode.Scalar]
        private var position = 0
        private var lines = LineCounter()

        init(text: [Unicode.Scalar]) { self.text = text }

        mutating func read() throws(Problem) -> [Assignment] {
            var found: [Assignment] = []
            // A byte order mark.
            if peek == "\u{FEFF}" { position += 1 }
            while true {
                skip(Self.isSpace)
                guard position < text.count else { return found }
                if let assignment = try statement() { found.append(assignment) }
            }
        }

        /// One assignment or comment, to the end of its line.
        private mutating func statement() throws(Problem) -> Assignment? {
            let line = lines.line(at: position, in: text)
            skipExport()
            let begin = position
            let name = try name()
            var end = position
            skip(Self.isBlank)
            var value: String?
            if peek == "=", name != nil {
                position += 1
                let begin = position
                skip(Self.isBlank)
                if position > begin, peek == "#" {
                    // A comment after white space, and no value before it.
                    (value, end) = ("", begin)
                    position = begin
                } else {
                    value = try self.value(&end)
                }
            }
            skip(Self.isBlank)
            if peek == "#" { skip { !Self.isNewline($0) } }
            guard peek.map(Self.isNewline) ?? true else {
                throw problem("there is something that is neither NAME=value nor a comment")
            }
            return name.map { Assignment(name: $0, line: line, value: value, span: begin..<end) }
        }

        private mutating func skipExport() {
            let word = Array("export".unicodeScalars)
            guard text[position...].starts(with: word), position + word.count < text.count,
                Self.isBlank(text[position + word.count])
            else { return }
            position += word.count
            skip(Self.isBlank)
        }

        /// `nil` where a comment begins.
        private mutating func name() throws(Problem) -> String? {
            if peek == "#" { return nil }
            if peek == "'" {
                position += 1
                let begin = position
                skip { $0 != "'" }
                guard peek == "'", position > begin else { throw problem("a name in quotation marks does not end") }
                position += 1
                return string(begin..<(position - 1))
            }
            let begin = position
            skip { $0 != "=" && $0 != "#" && !Self.isSpace($0) }
            guard position > begin else { throw problem("there is no name before '='") }
            return string(begin..<position)
        }

        private mutating func value(_ end: inout Int) throws(Problem) -> String {
            if let mark = peek, mark == "'" || mark == "\"" {
                let value = try quoted(mark)
                end = position
                return value
            }
            let begin = position
            skip { !Self.isNewline($0) }
            var last = position
            // A comment begins with a number sign after white space.
            if let sign = (begin..<position).first(where: { index in
                text[index] == "#" && index > begin && Self.isSpace(text[index - 1])
            }) {
                last = sign
            }
            while last > begin, Self.isSpace(text[last - 1]) { last -= 1 }
            end = last
            position = last
            return string(begin..<last)
        }

        private mutating func quoted(_ mark: Unicode.Scalar) throws(Problem) -> String {
            let opening = position
            position += 1
            var value = String.UnicodeScalarView()
            while let scalar = next() {
                if scalar == mark { return String(value) }
                guard scalar == "\\", let escaped = next() else {
                    value.append(scalar)
                    continue
                }
                if let meant = Self.escape(escaped, mark) {
                    value.append(meant)
                } else {
                    value.append(scalar)
                    value.append(escaped)
                }
            }
            position = opening
            throw problem("a value in quotation marks does not end")
        }

        private static func escape(_ scalar: Unicode.Scalar, _ mark: Unicode.Scalar) -> Unicode.Scalar? {
            switch scalar {
            case "\\", "'": return scalar
            case _ where mark == "'": return nil
            case "\"": return "\""
            case "a": return "\u{07}"
            case "b": return "\u{08}"
            case "f": return "\u{0C}"
            case "n": return "\n"
            case "r": return "\r"
            case "t": return "\t"
            case "v": return "\u{0B}"
            default: return nil
            }
        }

        /// The next scalar of a value. Python reads every line break of a file as one line feed.
        private mutating func next() -> Unicode.Scalar? {
            guard let scalar = peek else { return nil }
            position += 1
            guard scalar == "\r" else { return scalar }
            if peek == "\n" { position += 1 }
            return "\n"
        }

        // MARK: Pieces

        private var peek: Unicode.Scalar? { position < text.count ? text[position] : nil }

        private mutating func skip(_ isMeant: (Unicode.Scalar) -> Bool) {
            while let scalar = peek, isMeant(scalar) { position += 1 }
        }

        private func string(_ range: Range<Int>) -> String {
            var view = String.UnicodeScalarView()
            view.append(contentsOf: text[range])
            return String(view)
        }

        private func problem(_ reason: String) -> Problem {
            var counter = lines
            return Problem(line: counter.line(at: position, in: text), reason: reason)
        }

        /// Counts each line break once, however often it is asked.
        private struct LineCounter {
            private var counted = 0
            private var line = 1

            mutating func line(at position: Int, in text: [Unicode.Scalar]) -> Int {
                while counted < position, counted < text.count {
                    let isPair = text[counted] == "\r" && counted + 1 < text.count && text[counted + 1] == "\n"
                    if Reader.isNewline(text[counted]), !isPair { line += 1 }
                    counted += 1
                }
                return line
            }
        }

        private static func isNewline(_ scalar: Unicode.Scalar) -> Bool { scalar == "\n" || scalar == "\r" }

        /// What Python calls white space.
        private static func isSpace(_ scalar: Unicode.Scalar) -> Bool {
            scalar.properties.isWhitespace || (0x1C...0x1F).contains(scalar.value)
        }

        private static func isBlank(_ scalar: Unicode.Scalar) -> Bool { isSpace(scalar) && !isNewline(scalar) }
    }
}
