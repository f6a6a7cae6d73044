import Foundation
import KeyturnCore
import KeyturnSystem
import TestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#endif

@Suite("Programs of the user's")
struct ChildProgramTests {
    private let folder: ScratchFolder
    private let environment = ["PATH": "/usr/local/bin:/usr/bin:/bin"]

    init() throws {
        // As the command does: a program that hangs up is an error and not our end.
        signal(SIGPIPE, SIG_IGN)
        folder = try ScratchFolder()
    }

    private func shell(
        _ script: String, _ arguments: [String] = [], timeout: Double = 30, outputLimit: Int = 64 * 1024
    ) -> ChildProgram {
        ChildProgram(
            ["sh", "-c", script, "sh"] + arguments, folder: folder.path, environment: environment, timeout: timeout,
            outputLimit: outputLimit)
    }

    private func failure(
        _ program: ChildProgram, input: SecretValue = SecretValue([])
    ) async -> SystemError? {
        do throws(SystemError) {
            _ = try await program.run(input: input)
            return nil
        } catch { return error }
    }

    /// Whether a process is there and not only waits to be collected.
    private func runs(_ process: pid_t) -> Bool {
        guard let text = try? String(contentsOfFile: "/proc/\(process)/stat", encoding: .utf8),
            let name = text.lastIndex(of: ")")
        else { return false }
        return !["Z", "X"].contains(text[name...].split(separator: " ")[1])
    }

    @Test func givesStatusAndOutput() async throws {
        for status: Int32 in [0, 1, 75, 255] {
            let outcome = try await shell("printf 'out\\0put'; echo noise >&2; exit \(status)").run()
            #expect(outcome.status == status)
            #expect(outcome.output.exposedBytes() == Array("out\0put".utf8))
        }
    }

    @Test(arguments: [0, 1, 100_000, 1 << 20]) func handsOverTheWholeInput(size: Int) async throws {
        let bytes = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 7) }
        let outcome = try await shell("cat", outputLimit: 1 << 20).run(input: SecretValue(bytes))
        let isSame = outcome.output.exposedBytes() == bytes
        #expect(isSame)
    }

    @Test func argumentsAreNotInterpreted() async throws {
        let arguments = ["a b", "$HOME", "*", "'", "", "-n"]
        let outcome = try await shell("for word; do printf '%s|' \"$word\"; done", arguments).run()
        #expect(outcome.output.exposedText() == "a b|$HOME|*|'||-n|")
    }

    @Test func aRelativeProgramIsTakenFromItsFolder() async throws {
        try folder.write("#!/bin/sh\npwd\n", to: "tools/where", mode: 0o700)
        let program = ChildProgram(["./tools/where"], folder: folder.path, environment: environment)
        let real = try #require(realpath(folder.path, nil))
        defer { free(real) }
        #expect(try await program.run().output.exposedText() == String(cString: real) + "\n")
    }

    @Test func littleOfOurEnvironmentIsPassedOn() async throws {
        var own = environment
        own["LANG"] = "C"
        own["AWS_SECRET_ACCESS_KEY"] = "CANARY"
        own["KEYTURN_STATE"] = "CANARY"
        own["LD_PRELOAD"] = ""
        let program = ChildProgram(["env"], folder: folder.path, environment: own)
        let text = try #require(try await program.run().output.exposedText())
        #expect(!text.contains("CANARY"))
        let names = text.split(separator: "\n").map { String($0.prefix { $0 != "=" }) }.sorted()
        #expect(names == ["LANG", "PATH"])
    }

    // MARK: Programs that do not end well

    @Test func aTimeoutEndsTheWholeGroup() async throws {
        let program = shell("sleep 600 & echo $! > grandchild; echo $$ > child; wait", timeout: 5)
        let error = try #require(await failure(program))
        #expect(error.code == .timedOut && error.mayHaveTakenEffect && error.disposition == .passing)
        #expect(error.message == "program 'sh' did not end within 5.0 s and was killed")
        for name in ["child", "grandchild"] {
            let text = try #require(folder.read(name))
            let process = try #require(pid_t(text.trimmingCharacters(in: .newlines)))
            #expect(!runs(process), "\(name)")
        }
    }

    @Test func oneThatDoesNotHeedIsKilled() async throws {
        let program = shell("trap '' TERM; echo $$ > child; while :; do sleep 1; done", timeout: 5)
        #expect(await failure(program)?.code == .timedOut)
        let number = try #require(folder.read("child"))
        let process = try #require(pid_t(number.trimmingCharacters(in: .newlines)))
        #expect(!runs(process))
    }

    @Test func aCancelledTaskEndsItsProgram() async throws {
        let pipe = folder.path("started")
        try #require(mkfifo(pipe, 0o600) == 0)
        let program = shell("echo $$ > started; exec sleep 600")
        let task = Task { await failure(program) }
        // Opening the pipe waits until the program opens its end.
        let text = await withCheckedContinuation { continuation in
            DispatchQueue.global().async {
                let data = try? FileHandle(forReadingFrom: URL(filePath: pipe)).readToEnd()
                continuation.resume(returning: data.map { String(decoding: $0, as: UTF8.self) })
            }
        }
        let number = try #require(text)
        let process = try #require(pid_t(number.trimmingCharacters(in: .newlines)))
        task.cancel()
        let error = try #require(await task.value)
        #expect(error.code == .cancelled && error.mayHaveTakenEffect)
        #expect(!runs(process))
    }

    @Test func anAnswerUpToTheLimitIsTaken() async throws {
        #expect(try await shell("head -c 1000 /dev/zero", outputLimit: 1000).run().output.count == 1000)
        let error = try #require(await failure(shell("cat /dev/zero", outputLimit: 1000)))
        #expect(error.code == .badAnswer && error.mayHaveTakenEffect)
        #expect(error.message == "program 'sh' answered more than 1000 bytes")
    }

    @Test func aSignalIsAnUnknownOutcome() async throws {
        let error = try #require(await failure(shell("kill -KILL $$")))
        #expect(error.code == .local && error.disposition == .passing && error.mayHaveTakenEffect)
        #expect(error.message == "program 'sh' was killed by a signal")
    }

    /// Such as a notifier that looks at nothing: its exit status counts, be it faster or slower than we write.
    @Test func oneThatDoesNotReadItsInputIsJudgedByItsStatus() async throws {
        for round in 0..<40 {
            let small = try await shell("exec 0<&-; exit \(round % 3)").run(input: SecretValue(utf8: "small"))
            #expect(small.status == round % 3)
        }
        let large = SecretValue([UInt8](repeating: 1, count: 1 << 20))
        #expect(try await shell("exit 0").run(input: large).status == 0)
    }

    @Test func whatCanNotBeStartedIsAMistakeOfTheConfiguration() async throws {
        try folder.write("#!/bin/sh\n", to: "plain", mode: 0o600)
        try folder.write("#!/nowhere/shell\n", to: "lost", mode: 0o700)
        for word in ["./plain", "./missing", "/nowhere/program", "no-such-program-anywhere", ".", "./lost"] {
            let error = await failure(ChildProgram([word], folder: folder.path, environment: environment))
            #expect(error?.code == .misconfigured, "\(word): \(String(describing: error))")
            #expect(error?.mayHaveTakenEffect == false, "\(word)")
        }
        let error = await failure(ChildProgram([], folder: folder.path, environment: environment))
        #expect(error?.message == "no program is named")
    }

    @Test func failuresNameTheProgramAndNothingElse() async throws {
        let error = try #require(
            await failure(
                shell("echo CANARY; echo CANARY >&2; kill -KILL $$", ["CANARY"]), input: SecretValue(utf8: "CANARY")))
        #expect(!"\(error)".contains("CANARY"))
    }
}
