import ArgumentParser
import Foundation
import KeyturnCore
import Simulation
import TestSupport

/// Plays simulated histories and stops at the first that breaks a promise.
struct Simulate: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "keyturn-simulate",
        abstract: "Plays simulated histories of Keyturn and checks its promises after every event.",
        discussion: """
            Each history is one seed. One that breaks a promise is printed with its seed, the newest events of the secret \
            concerned and the command that plays it again, which is the same to the last event.

            Examples:
              keyturn-simulate --rotations 20000
              keyturn-simulate --seed 4711 --count 1 --trace 80
              keyturn-simulate --exhaustive
            """)

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

    @Option(help: "How many histories are played at the same time (default: one for each core). It changes no result.")
    var jobs: Int?

    @Option(help: "How many of the newest events of a failing history are printed.")
    var trace = 40

    @Flag(help: "Play one rotation of a small model in every way its calls and writes can come out.")
    var exhaustive = false

    @Option(help: "Crashes in one history of the small model at most.")
    var crashes = 2

    @Option(help: "Refused calls and lost answers in one history of the small model at most.")
    var faults = 2

    @Option(help: "Crashes, refused calls and lost answers together in one history of the small model at most.")
    var together = 2

    @Flag(help: "Print the drawing of the state machine that the documentation shows.")
    var drawing = false

    func validate() throws {
        guard count > 0, rotations > 0, days > 0, (1...1000).contains(secrets), jobs ?? 1 > 0 else {
            throw ValidationError("--count, --rotations, --days, --secrets and --jobs are greater than 0")
        }
    }

    func run() throws {
        if drawing { return say(RotationDrawing.mermaid, terminator: "") }
        if exhaustive { try explore() } else { try play() }
    }

    private var width: Int { jobs ?? ProcessInfo.processInfo.activeProcessorCount }

    // MARK: Histories by seed

    private func simulation(_ seed: UInt64) -> Simulation {
        var simulation = Simulation(seed: seed)
        simulation.days = days
        simulation.secrets = secrets
        return simulation
    }

    private func play() throws {
        let first = seed ?? UInt64(Date().timeIntervalSince1970 * 1000)
        say("first seed \(first)")
        var total = Counts()
        var histories = 0
        let start = ContinuousClock.now
        InOrder(count, width: width) { simulation(first &+ UInt64($0)).run() }.handOut { outcome in
            histories += 1
            total.add(outcome.counts)
            return outcome.violation == nil && total.rotations < rotations
        }
        // Tracing takes time, and a seed plays the same again: the last one is the only one that can have failed.
        let last = first &+ UInt64(histories - 1)
        let took = ContinuousClock.now - start
        say(Summary(total, histories: histories, first: first, took: took.seconds).text)
        var suspect = simulation(last)
        suspect.isTracing = true
        let again = suspect.run(events: trace)
        guard let violation = again.violation else { return }
        for line in again.trace { say(line) }
        say("seed \(last), history \(histories): \(violation)")
        say("again: keyturn-simulate --seed \(last) --count 1 --days \(days) --secrets \(secrets) --trace 400")
        throw ExitCode(1)
    }

    // MARK: The small model

    private func explore() throws {
        let start = ContinuousClock.now
        var models: [SmallModel] = []
        for kind in [IssuerKind.chosen, .listable, .unlistable, .slots] {
            for order in [SimulationExecutor.Order.oldestFirst, .newestFirst] {
                var model = SmallModel(kind: kind)
                (model.crashes, model.faults, model.together, model.order) = (crashes, faults, together, order)
                models.append(model)
            }
        }
        let all = models
        var failed: SmallModel.Report?
        var done = 0
        say("up to \(crashes) crashes and \(faults) refused calls or lost answers, \(together) together, in a history")
        InOrder(all.count, width: width) { all[$0].explore() }.handOut { report in
            let model = all[done]
            done += 1
            say(
                "\(model.kind.rawValue), \(model.order.rawValue): \(report.histories) histories, "
                    + "\(report.states) states, \(report.counts.checks) checks, \(report.counts.crashes) crashes")
            if report.violation != nil { failed = report }
            return failed == nil
        }
        say("\((ContinuousClock.now - start).seconds.formatted(.number.precision(.fractionLength(1)))) s")
        guard let failed else { return }
        for line in failed.trace.suffix(trace) { say(line) }
        say(failed.violation ?? "")
        throw ExitCode(1)
    }
}

/// Prints a line so that it is seen at once, also in a log.
private func say(_ line: String, terminator: String = "\n") {
    FileHandle.standardOutput.write(Data((line + terminator).utf8))
}

extension Duration {
    var seconds: Double { Double(components.seconds) + Double(components.attoseconds) / 1e18 }
}

// Hashing is seeded anew in each process, and with it the order of sets and dictionaries: not in a history that is to be
// played again.
let switchName = "SWIFT_DETERMINISTIC_HASHING"
if ProcessInfo.processInfo.environment[switchName] == nil {
    setenv(switchName, "1", 1)
    let arguments = CommandLine.arguments.map { strdup($0) } + [nil]
    execv("/proc/self/exe", arguments)
}
Simulate.main()
