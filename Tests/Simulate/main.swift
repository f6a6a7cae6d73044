import ArgumentParser
import Foundation
import Simulation
struct Simulate: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keyturn-simulate",
        abstract: "Plays simulated histories of Keyturn and checks its promises after every event.")
    @Option(help: "The first seed (default: from the clock).")
    var seed: UInt64?
    @Option(help: "How many histories at most.")
    var count = Int.max
    @Option(help: "Stop once so many rotations have been played.")
    var rotations = 20_000
    @Option(help: "Simulated days of trouble in each history.")
    var days = 8.0
    @Option(help: "Secrets in each history.")
    var secrets = 6
    @Option(help: "How many of the newest events of a failing history are printed.")
    var trace = 40

    func run() throws {
        let first = seed ?? UInt64(Date().timeIntervalSince1970 * 1000)
        var total = Counts()
        var histories = 0
        let start = ContinuousClock.now
        while histories < count, total.rotations < rotations {
            var simulation = Simulation(seed: first &+ UInt64(histories))
            simulation.days = days
            simulation.secrets = secrets
            let outcome = simulation.run()
            histories += 1
            total.add(outcome.counts)
            guard outcome.violation != nil else { continue }
            simulation.isTracing = true
            let again = simulation.run(events: trace)
            for line in again.trace { print(line) }
            print("seed \(outcome.seed), history \(histories): \(again.violation ?? "")")
            throw ExitCode(1)
        }
        print("seeds \(first)...\(first &+ UInt64(max(0, histories - 1))), \(ContinuousClock.now - start)")
        print(total)
    }
}
let switchName = "SWIFT_DETERMINISTIC_HASHING"
if ProcessInfo.processInfo.environment[switchName] == nil {
    setenv(switchName, "1", 1)
    let arguments = CommandLine.arguments.map { strdup($0) } + [nil]
    execv("/proc/self/exe", arguments)
}
Simulate.main()
