import ArgumentParser
import Foundation
import TestSupport

#if canImport(Glibc)
    import Glibc
#endif

/// Gives damaged inputs to every parser of outside data and stops at the first that breaks a promise.
@main
struct Fuzz: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keyturn-fuzz",
        abstract: "Gives damaged inputs to every parser of outside data.",
        discussion: """
            The inputs of a run follow from its seed. An input that breaks a promise is kept; put into the corpus, it is \
            tried in every later run. Every file of the corpus is tried as it is first.

            Examples:
              keyturn-fuzz --seconds 60
              keyturn-fuzz --parser cron --seed 4711 --inputs 100000
            """)

    @Option(help: "The first seed (default: from the clock).")
    var seed: UInt64?

    @Option(help: "How long, in seconds of processor time (default: 20, unless --inputs is given).")
    var seconds: Double?

    @Option(help: "How many inputs, over all parsers.")
    var inputs: Int?

    @Option(help: "Only this parser; repeatable.")
    var parser: [String] = []

    @Option(help: "The corpus.")
    var corpus = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "Corpus").path(
        percentEncoded: false)

    @Option(help: "Where an input that breaks a promise is kept.")
    var findings = ".build/fuzz"

    func run() async throws {
        signal(SIGPIPE, SIG_IGN)
        let targets = try Targets.all().filter { parser.isEmpty || parser.contains($0.name) }
        guard !targets.isEmpty else { throw ValidationError("there is no such parser") }
        let first = seed ?? UInt64(Date().timeIntervalSince1970 * 1000)
        let last = try LastInput(folder: findings)
        last.watch()
        print("seed \(first)")
        var total = 0
        var mutators: [Mutator] = []
        for (index, target) in targets.enumerated() {
            let files = try known(target)
            for (name, content) in files { try await attempt(target, content, "\(target.name)/\(name)", last) }
            total += files.count
            mutators.append(
                Mutator(corpus: files.map { $0.1 }, words: target.words, seed: first &+ UInt64(index) &* 0x9E37))
        }
        var counts = targets.map { _ in 0 }
        let begun = clock()
        let limit = inputs ?? .max
        let patience = seconds ?? (inputs == nil ? 20 : .infinity)
        var round = 0.0
        while total < limit, Double(clock() - begun) / Double(CLOCKS_PER_SEC) < patience {
            round += 1
            for (index, target) in targets.enumerated() {
                while Double(counts[index]) < round * target.share, total < limit {
                    try await attempt(target, mutators[index].next(), "input \(counts[index])", last)
                    counts[index] += 1
                    total += 1
                }
            }
        }
        for (target, count) in zip(targets, counts) { print("\(target.name): \(count)") }
        print("\(total) inputs, no promise broken")
        // The servers that some parsers are asked through have threads that wait.
        fflush(nil)
        _exit(0)
    }

    private func known(_ target: FuzzTarget) throws -> [(String, [UInt8])] {
        let folder = "\(corpus)/\(target.name)"
        let files = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
        guard !files.isEmpty else { throw ValidationError("\(folder) is empty") }
        return try files.map { ($0, Array(try Data(contentsOf: URL(filePath: "\(folder)/\($0)")))) }
    }

    private func attempt(_ target: FuzzTarget, _ input: [UInt8], _ name: String, _ last: LastInput) async throws {
        last.begin(target.name, input)
        do { try await target.check(input) } catch {
            let kept = "\(findings)/finding-\(target.name)"
            try Data(input).write(to: URL(filePath: kept))
            print("\(target.name), \(name): \(error)\nthe input is \(kept)")
            throw ExitCode(1)
        }
        last.end()
    }
}
