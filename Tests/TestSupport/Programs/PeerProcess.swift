import Foundation
import Synchronization
import Testing

/// A program of `Tests/PeerTests` as a child process, which answers each line with a line and ends with its input. It runs
/// with the Python of KEYTURN_TEST_PYTHON, or python3, and needs what `Tests/PeerTests/requirements.txt` names there.
package final class PeerProcess: Sendable {
    private let words: [String]
    private let program: StockProgram
    private let turn = Mutex(())

    /// - Parameter words: the module, such as `peers.momento`, and its arguments.
    package init(_ words: [String]) throws {
        let python = ProcessInfo.processInfo.environment["KEYTURN_TEST_PYTHON"] ?? "python3"
        let folder = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../../PeerTests")
        program = try StockProgram(
            [python, "-m"] + words, in: folder.standardizedFileURL.path(percentEncoded: false))
        self.words = words
    }

    /// The next line that it says.
    package func hear<Answer: Decodable>(_ type: Answer.Type) throws -> Answer { try decode(type, try line()) }

    /// Says a line and waits for the answer to it.
    package func ask<Answer: Decodable>(_ order: String, for type: Answer.Type) throws -> Answer {
        let answer = try turn.withLock { _ in
            program.input.write(Data((order + "\n").utf8))
            return try line()
        }
        return try decode(type, answer)
    }

    private func line() throws -> Data {
        var line = Data()
        while let byte = try program.output.read(upToCount: 1), !byte.isEmpty, byte != Data("\n".utf8) {
            line += byte
        }
        return line
    }

    private func decode<Answer: Decodable>(_ type: Answer.Type, _ line: Data) throws -> Answer {
        try #require(
            try? JSONDecoder().decode(type, from: line),
            "\(words.joined(separator: " ")) did not answer; see Tests/PeerTests/requirements.txt")
    }
}
