import ArgumentParser
import KeyturnCore
import KeyturnEngine

struct RunCommand: KeyturnCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Rotates what is due: as a daemon, or once for cron.",
        discussion: """
            Without --once it runs until SIGTERM or SIGINT, which let steps in flight finish and end within 10 seconds; \
            what is left is resumed at the next start. SIGHUP reads the policies again; if they are wrong, the old ones \
            stay in force and an alert goes out.

            Exit statuses of --once: 0; 1 a rotation failed; 3 a secret is quarantined, or too many \
            failures have stopped everything; 75 another instance runs.

            Examples:
              keyturn run
              */15 * * * * keyturn run --once --config /etc/keyturn/keyturn.yaml   (a crontab line)
            """)

    @Flag(help: "Do everything that is due, then end.")
    var once = false

    @OptionGroup var patience: PatienceOption

    @OptionGroup var options: GlobalOptions

    func execute() async throws {
        let patience = try patience.seconds
        let composition = try Composition.load(options)
        guard once else { return try await Daemon(composition: composition, options: options).run() }
        let running = try await composition.engine(.alone, inlineWait: patience)
        let outcomes = try await Progress.shown { progress in
            try await StopSignals.watching(running) { try await running.engine.pass(progress: progress) }
        }
        let switches = try await running.engine.switches()
        await running.finish()
        let summary = PassSummary(outcomes: outcomes, switches: switches)
        try summary.show(options)
        if summary.status != .done { throw summary.status.code }
    }
}
