import ArgumentParser
import Foundation
import KeyturnCore
import KeyturnEngine
import KeyturnStore

struct RotateCommand: KeyturnCommand {
    static let configuration = CommandConfiguration(
        commandName: "rotate",
        abstract: "Rotates secrets now.",
        discussion: """
            The schedule goes on from the new promotion. With --compromised the old key gets no grace: it is revoked as \
            soon as every backend has the new one. While a daemon runs on this state, the daemon is asked to do it, and \
            its work is watched for as long as --wait says.

            Exit statuses: 0; 1 a rotation failed or is not over yet; 3 a secret is quarantined; 75 another process that \
            is no daemon is working on the secret.

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
        let names = try await SecretNames.known(secrets, composition, try composition.readJournal())
        for name in names {
            guard composition.policy(name) != nil else {
                throw CommandFailure(.usage, "no policy names \(name) any more, so it can't be rotated")
            }
        }
        do {
            let running = try await composition.engine(.alone, inlineWait: patience)
            for name in names {
                try await running.engine.request(
                    name, compromised: compromised, actor: ProcessInfo.processInfo.userName)
            }
            let outcomes = try await Progress.shown { progress in
                try await StopSignals.watching(running) {
                    try await running.engine.pass(only: names, progress: progress)
                }
            }
            await running.finish()
            try conclude(outcomes)
        } catch JournalError.locked {
            try await askTheDaemon(names, composition, patience)
        }
    }

    /// Leaves the requests in the journal for the process that drives rotations, and watches what comes of them.
    private func askTheDaemon(_ names: [SecretName], _ composition: Composition, _ patience: Double) async throws {
        let running = try await composition.engine(.shared)
        for name in names {
            try await running.engine.request(name, compromised: compromised, actor: ProcessInfo.processInfo.userName)
        }
        await running.finish()
        Terminal.tell("the running daemon was asked for it")
        let journal = try composition.writeJournal()
        let open = try await Progress.shown { progress in
            try await stillOpen(names, after: patience, journal, progress)
        }
        var outcomes: [WorkOutcome] = []
        for name in names {
            guard let record = try await journal.record(of: name), !open.contains(name) || patience > 0 else {
                continue
            }
            outcomes.append(
                WorkOutcome(standing: record)
                    ?? WorkOutcome(secret: name, result: open.contains(name) ? .nothingDue : .rotated))
        }
        try conclude(outcomes)
    }

    /// Watches the secrets until all are dealt with, or the patience ends; gives those that are not.
    private func stillOpen(
        _ names: [SecretName], after patience: Double, _ journal: SQLiteJournal,
        _ progress: @Sendable (_ done: Int, _ total: Int) -> Void
    ) async throws -> Set<SecretName> {
        let end = ContinuousClock.now + .seconds(patience)
        var open = Set(names)
        let total = open.count
        while !open.isEmpty, ContinuousClock.now < end {
            progress(total - open.count, total)
            try await SystemTimekeeper().sleep(for: .milliseconds(200))
            for name in open {
                guard let record = try await journal.record(of: name) else { continue }
                let failed = record.rotation?.lastError != nil || record.quarantine != nil
                // A compromised key is not dealt with until it is gone.
                let isOver =
                    record.request == nil && record.rotation == nil && !(compromised && !record.leaving.isEmpty)
                if failed || isOver { open.remove(name) }
            }
        }
        return open
    }

    private func conclude(_ outcomes: [WorkOutcome]) throws {
        let summary = PassSummary(outcomes: outcomes)
        try summary.show(options)
        if summary.status != .done { throw summary.status.code }
        if let name = outcomes.first(where: { $0.foundNothingDue })?.secret {
            throw CommandFailure(
                .failed, "\(name) was not rotated yet", advice: "`keyturn explain \(name)` says what holds it up")
        }
    }
}
