import Foundation
import Synchronization

#if canImport(Glibc)
    import Glibc
#endif

/// Keeps the input that is being tried in a file, so that it is there after a crash, and ends the program when one input
/// takes too much of the processor.
final class LastInput: Sendable {
    /// Seconds of processor time that one input may take: a thousand times what the slowest needs.
    private static let patience = 20.0

    private struct State {
        var target = ""
        var begun: Double?
    }

    private let folder: String
    private let state = Mutex(State())

    init(folder: String) throws {
        self.folder = folder
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    }

    func begin(_ target: String, _ input: [UInt8]) {
        let path = "\(folder)/last-\(target)"
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o600)
        if descriptor >= 0 {
            _ = write(descriptor, input, input.count)
            close(descriptor)
        }
        state.withLock { $0 = State(target: target, begun: Self.processorTime()) }
    }

    func end() { state.withLock { $0.begun = nil } }

    /// Watches from a thread of its own.
    func watch() {
        let thread = Thread { [self] in
            while true {
                Thread.sleep(forTimeInterval: 1)
                let (target, begun) = state.withLock { ($0.target, $0.begun) }
                guard let begun, Self.processorTime() - begun > Self.patience else { continue }
                FileHandle.standardError.write(
                    Data("\(target) hangs; its input is \(folder)/last-\(target)\n".utf8))
                _exit(1)
            }
        }
        thread.start()
    }

    /// Of the whole process, which has nothing else to do.
    private static func processorTime() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
}
