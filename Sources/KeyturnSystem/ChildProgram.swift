package import KeyturnCore
import Subprocess
import SystemPackage

/// A program of the user's, run for one question: secrets go in by standard input and come out by standard output, and
/// never stand in its arguments or its environment.
package struct ChildProgram: Sendable {
    /// Program and arguments, at least one word.
    package let words: [String]
    package let folder: String
    /// Seconds until it is ended: asked first, killed two seconds later.
    package let timeout: Double
    /// The most that it may answer, in bytes.
    package let outputLimit: Int
    private let environment: [String: String]

    /// What of our own environment a program gets to see.
    private static let inherited = ["PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"]

    package init(
        _ words: [String], folder: String, environment: [String: String], timeout: Double = 30,
        outputLimit: Int = 64 * 1024
    ) {
        self.words = words
        self.folder = folder
        self.timeout = timeout
        self.outputLimit = outputLimit
        self.environment = environment.filter { Self.inherited.contains($0.key) }
    }

    package struct Outcome: Sendable {
        package let status: Int32
        package let output: SecretValue
    }

    private enum Ending: Sendable {
        case exited(Outcome)
        case signalled
        case timedOut
        case failed(SystemError)
    }

    /// Runs it to its end, whatever its exit status.
    ///
    /// - Throws: `local` when it can't be started or is killed; `timedOut`; `badAnswer` when it answers too much.
    package func run(input: SecretValue = SecretValue([])) async throws(SystemError) -> Outcome {
        guard let program = words.first else { throw SystemError(.misconfigured, "no program is named") }
        let seconds = timeout
        let ending = await withTaskGroup(of: Ending?.self) { group in
            group.addTask { await self.execute(program, input) }
            group.addTask {
                do { try await SystemTimekeeper().sleep(for: .milliseconds(Int64(seconds * 1000))) } catch {
                    return nil
                }
                return .timedOut
            }
            var first: Ending?
            // Cancelling the first task ends the program; it is waited for.
            while let ending = await group.next() {
                if first == nil, let ending { first = ending }
                group.cancelAll()
            }
            return first
        }
        switch ending {
        case .exited(let outcome): return outcome
        case .signalled where Task.isCancelled, nil:
            throw SystemError(.cancelled, "\(name) was stopped", mayHaveTakenEffect: true)
        case .signalled:
            throw SystemError(.local, "\(name) was killed by a signal", disposition: .passing, mayHaveTakenEffect: true)
        case .timedOut:
            throw SystemError(
                .timedOut, "\(name) did not end within \(timeout) s and was killed",
                advice: "see why it hangs, or raise its timeout", mayHaveTakenEffect: true)
        case .failed(let error): throw error
        }
    }

    private var name: String { words.first?.split(separator: "/").last.map { "program '\($0)'" } ?? "program" }

    private func execute(_ program: String, _ input: SecretValue) async -> Ending {
        var options = PlatformOptions()
        options.createSession = true
        options.teardownSequence = [.gracefulShutDown(toProcessGroup: true, allowedDurationToNextStep: .seconds(2))]
        var variables: [Environment.Key: String] = [:]
        for (name, value) in environment { variables[Environment.Key(stringLiteral: name)] = value }
        do {
            let result = try await Subprocess.run(
                program.contains("/") ? .path(FilePath(absolute(program))) : .name(program),
                arguments: Arguments(Array(words.dropFirst())), environment: .custom(variables),
                workingDirectory: FilePath(folder), platformOptions: options, input: .inputWriter,
                output: .bytes(limit: outputLimit), error: .discarded
            ) { execution in
                // A program may end without reading what it is told; its status says how it went. Handed over as an
                // array, the library lets the pipe drop in that case, and that ends our own process.
                let writer = execution.standardInputWriter
                _ = try? await writer.write(input.exposedBytes())
                try? await writer.finish()
            }
            switch result.terminationStatus {
            case .exited(let code):
                return .exited(Outcome(status: code, output: SecretValue(result.standardOutput)))
            case .signaled: return .signalled
            }
        } catch let error as SubprocessError {
            switch error.code {
            case .outputLimitExceeded:
                return .failed(
                    SystemError(
                        .badAnswer, "\(name) answered more than \(outputLimit) bytes", mayHaveTakenEffect: true))
            case .executableNotFound, .spawnFailed:
                return .failed(
                    SystemError(
                        .misconfigured, "\(name) can't be started",
                        advice: "check that it is there and executable"))
            default:
                // Its outcome is not known.
                return .failed(
                    SystemError(
                        .local, "\(name) could not be run to its end", disposition: .passing, mayHaveTakenEffect: true))
            }
        } catch {
            return .signalled
        }
    }

    private func absolute(_ program: String) -> String { program.hasPrefix("/") ? program : "\(folder)/\(program)" }
}
