import Foundation
import Testing

/// A script of a test's `Fixtures` that gives a second opinion: it reads questions from standard input, one JSON object a
/// line, and writes an answer for each.
package struct PythonScript {
    private let path: String
    private let package: String

    /// - Parameters:
    ///   - name: the file in the folder `Fixtures` above the caller's.
    ///   - package: what has to be installed for it.
    package init(_ name: String, needs package: String, caller: String = #filePath) {
        path = URL(filePath: caller).deletingLastPathComponent().appending(path: "../Fixtures/\(name)")
            .standardizedFileURL
            .path(percentEncoded: false)
        self.package = package
    }

    /// Runs it with the Python of KEYTURN_TEST_PYTHON, or python3.
    package func ask<Question: Encodable, Answer: Decodable>(
        _ questions: [Question], for type: Answer.Type
    ) throws -> [Answer] {
        let folder = FileManager.default.temporaryDirectory.appending(path: "keyturn-python-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        // A file, not a pipe: neither side can wait for the other.
        let input = folder.appending(path: "in")
        let encoder = JSONEncoder()
        let lines = try questions.map { String(decoding: try encoder.encode($0), as: UTF8.self) }
        try Data(lines.joined(separator: "\n").utf8).write(to: input)
        let python = ProcessInfo.processInfo.environment["KEYTURN_TEST_PYTHON"] ?? "python3"
        let said = try #require(
            try? StockProgram.run([python, path], inputFile: input.path(percentEncoded: false)),
            "\(python) could not ask \(package); install it (pip install \(package)) or name a Python in KEYTURN_TEST_PYTHON"
        )
        let decoder = JSONDecoder()
        return try said.split(separator: UInt8(ascii: "\n"))
            .map { try decoder.decode(type, from: Data($0)) }
    }
}
