package import Foundation
import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// A program of the machine's that runs beside a test.
///
/// Not Foundation's `Process`: where a process has many open files, that reads beyond what the system told of them, and
/// once in a while it ends all tests.
package final class StockProgram: Sendable {
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    /// What it is told by standard input, unless that is a file.
    package let input: FileHandle
    /// Its standard output.
    package let output: FileHandle
    private let process: pid_t
    private let status = Mutex<Int32?>(nil)

    /// - Parameters:
    ///   - words: the program, which is looked for in PATH, and its arguments.
    ///   - folder: where it runs; the tests' own when absent.
    ///   - inputFile: the path of what it reads instead of ``input``.
    ///   - isQuiet: whether what it writes to standard error is dropped.
    package init(_ words: [String], in folder: String? = nil, inputFile: String? = nil, isQuiet: Bool = false) throws {
        guard !words.isEmpty else { throw Failure(description: "no program is named") }
        // One at a time: a program that starts meanwhile would inherit the pipes and keep them open.
        let (process, input, output) = try Self.turn.withLock { _ in
            try Self.start((folder.map { ["env", "-C", $0] } ?? []) + words, inputFile, isQuiet)
        }
        self.process = process
        self.input = input
        self.output = output
    }

    private static let turn = Mutex(())

    private static func start(
        _ words: [String], _ inputFile: String?, _ isQuiet: Bool
    ) throws -> (process: pid_t, input: FileHandle, output: FileHandle) {
        let (told, heard) = (try pipe(), try pipe())
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        if let inputFile {
            posix_spawn_file_actions_addopen(&actions, 0, inputFile, O_RDONLY, 0)
        } else {
            posix_spawn_file_actions_adddup2(&actions, told.reads.fileDescriptor, 0)
        }
        posix_spawn_file_actions_adddup2(&actions, heard.writes.fileDescriptor, 1)
        if isQuiet { posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0) }
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        var process: pid_t = 0
        let code = posix_spawnp(&process, words[0], &actions, nil, &arguments, environ)
        guard code == 0 else { throw Failure(description: "\(words[0]): \(String(cString: strerror(code)))") }
        try told.reads.close()
        try heard.writes.close()
        return (process, told.writes, heard.reads)
    }

    private static func pipe() throws -> (reads: FileHandle, writes: FileHandle) {
        var ends: [Int32] = [-1, -1]
        guard Glibc.pipe(&ends) == 0 else { throw Failure(description: String(cString: strerror(errno))) }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        return (
            FileHandle(fileDescriptor: ends[0], closeOnDealloc: true),
            FileHandle(fileDescriptor: ends[1], closeOnDealloc: true)
        )
    }

    deinit {
        try? input.close()
        wait()
    }

    /// Waits for its end. The exit status; that of a shell where a signal ended it.
    @discardableResult package func wait() -> Int32 {
        status.withLock { status in
            if let status { return status }
            var word: Int32 = 0
            while waitpid(process, &word, 0) < 0, errno == EINTR {}
            let signal = word & 0x7F
            let ended = signal == 0 ? (word >> 8) & 0xFF : 128 + signal
            status = ended
            return ended
        }
    }

    /// Runs one to its end.
    ///
    /// - Returns: what it wrote to standard output.
    /// - Throws: ``Failure`` when it can't be started or ends with another status than 0.
    package static func run(_ words: [String], inputFile: String? = nil, isQuiet: Bool = false) throws -> Data {
        let program = try StockProgram(words, inputFile: inputFile, isQuiet: isQuiet)
        try program.input.close()
        let said = try program.output.readToEnd() ?? Data()
        let status = program.wait()
        guard status == 0 else {
            throw Failure(description: "\(words.prefix(2).joined(separator: " ")) ended with status \(status)")
        }
        return said
    }
}
