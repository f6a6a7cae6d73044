import Foundation

/// The text form of an age file: strict PEM (RFC 7468) with lines of 64 columns.
enum Armor {
    static let begin = "-----BEGIN AGE ENCRYPTED FILE-----"
    static let end = "-----END AGE ENCRYPTED FILE-----"
    private static let columns = 64

    static func encode(_ file: [UInt8]) -> [UInt8] {
        var text = Substring(Data(file).base64EncodedString())
        var lines = [begin]
        while !text.isEmpty {
            lines.append(String(text.prefix(columns)))
            text = text.dropFirst(columns)
        }
        lines.append(end)
        return Array((lines.joined(separator: "\n") + "\n").utf8)
    }

    /// Whether a file says that it is armored.
    static func isArmored(_ file: [UInt8]) -> Bool {
        file.drop { $0 == 0x20 || ($0 >= 0x09 && $0 <= 0x0D) }.starts(with: begin.utf8)
    }

    static func decode(_ file: [UInt8]) throws(AgeError) -> [UInt8] {
        guard let text = String(validating: file, as: UTF8.self) else { throw .badArmor("it is not text") }
        var lines = text.replacing("\r\n", with: "\n").split(separator: "\n", omittingEmptySubsequences: false)
        while let first = lines.first, first.allSatisfy(\.isWhitespace) { lines.removeFirst() }
        while let last = lines.last, last.allSatisfy(\.isWhitespace) { lines.removeLast() }
        guard lines.first.map(String.init) == begin else { throw .badArmor("its first line is not '\(begin)'") }
        guard let close = lines.firstIndex(where: { $0 == end }) else { throw .badArmor("its last line is missing") }
        guard close == lines.count - 1 else { throw .badArmor("there is something behind its last line") }
        let body = lines[1..<close]
        guard let last = body.last, !last.isEmpty, last.utf8.count <= columns,
            body.dropLast().allSatisfy({ $0.utf8.count == columns })
        else { throw .badArmor("its lines must have \(columns) columns") }
        let joined = body.joined()
        guard let data = Data(base64Encoded: joined), data.base64EncodedString() == joined else {
            throw .badArmor("it is not canonical base64")
        }
        return Array(data)
    }
}
