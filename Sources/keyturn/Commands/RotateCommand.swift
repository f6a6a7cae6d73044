import ArgumentParser
import KeyturnCore
import KeyturnEngine

struct RotateCommand: KeyturnCommand {
    static let configuration = CommandConfiguration(
        commandName: "rotate",
        abstract: "Rotates secrets now.",
        discussion: """
            The schedule goes on from the new promotion. With --compromised the old key gets no grace: it is revoked as \
            soon as every backend has the new one.

            Exit statuses: 0; 1 a rotation failed; 3 a secret is quarantined; 75 a daemon runs on this state.

            Examples:
              keyturn rotate payments/momento-cache
              keyturn rotate payments/momento-cache --compromised
            """)

    @Argument(help: "The secrets.")
    var secrets: [String]

    @Flag(help: "The present key is known to others: retire it at once.")
    var compromised = false

    @OptionGroup var patience: PatienceOption

    @OptionGroup var options: GlobalOptions

    func execute() async throws {
        let patience = try patience.seconds
        let composition = try Composition.load(options)
        let running = try await composition.engine(inlineWait: patience)
        let names = try await SecretNames.known(secrets, composition, try composition.readJournal())
        for name in names {
            guard composition.policy(name) != nil else {
                throw CommandFailure(.usage, "no policy names \(name) any more, so it can't be rotated")
            }
        }
        for name in names { try await running.engine.request(name, compromised: compromised) }
        let outcomes = try await StopSignals.watching(running) { try await running.engine.pass(only: names) }
        running.finish()
        let summary = PassSummary(outcomes: outcomes)
        try summary.show(options)
        if summary.status != .done { throw summary.status.code }
        if let name = outcomes.first(where: { $0.foundNothingDue })?.secret {
            throw CommandFailure(
                .failed, "\(name) was not rotated yet", advice: "`keyturn explain \(name)` says what holds it up")
        }
    }
}
