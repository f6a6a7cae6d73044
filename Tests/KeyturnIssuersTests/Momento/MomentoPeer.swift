import Foundation
import KeyturnCore
import Testing

/// The Momento of `Tests/PeerTests/peers/momento.py` as a child process, at a time in the test's hand. It runs with the
/// Python of KEYTURN_TEST_PYTHON, or python3, and needs `momento-wire-types` there.
final class MomentoPeer: Sendable {
    struct State: Decodable {
        /// The gRPC calls that came in, by name.
        let calls: [String]
        /// How many keys of the first generation were made.
        let made: Int
        let descriptions: [String]
        /// What the newest key may do, statement by statement.
        let permissions: [String]
        /// The metadata `authorization` of each call.
        let authorization: [String?]
    }

    private struct Places: Decodable {
        let address: String
        let grpc: String
        let adminKey: String
        let adminV1: String
    }

    static let start = Date(timeIntervalSince1970: 1_800_000_000)

    private let process: Process
    private let input = Pipe()
    private let output = Pipe()
    /// The account's API for keys and the caches.
    let address: String
    /// The service `auth.Auth`.
    let grpc: String
    /// What Keyturn calls with.
    let environment: [String: String]

    init() throws {
        let python = ProcessInfo.processInfo.environment["KEYTURN_TEST_PYTHON"] ?? "python3"
        let script = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../../PeerTests/peers/momento.py").standardizedFileURL
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments = [
            python, script.path(percentEncoded: false), String(Int(Self.start.timeIntervalSince1970)),
        ]
        process.standardInput = input
        process.standardOutput = output
        try process.run()
        self.process = process
        let line = try Self.line(output)
        let places = try #require(
            try? JSONDecoder().decode(Places.self, from: line),
            "\(python) could not play Momento; install momento, or name a Python in KEYTURN_TEST_PYTHON")
        address = places.address
        grpc = places.grpc
        environment = ["MOMENTO_ADMIN": places.adminKey, "MOMENTO_V1": places.adminV1]
    }

    deinit {
        // It ends with its input.
        try? input.fileHandleForWriting.close()
        process.waitUntilExit()
    }

    /// Says what the next calls are answered.
    @discardableResult func tell(_ order: String = "{}") throws -> State {
        input.fileHandleForWriting.write(Data((order + "\n").utf8))
        return try JSONDecoder().decode(State.self, from: try Self.line(output))
    }

    private static func line(_ pipe: Pipe) throws -> Data {
        var line = Data()
        while let byte = try pipe.fileHandleForReading.read(upToCount: 1), !byte.isEmpty, byte != Data("\n".utf8) {
            line += byte
        }
        return line
    }
}
