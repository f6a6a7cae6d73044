import Foundation
import KeyturnCore
import KeyturnEngine
import KeyturnStore

/// What a person asks of secrets: done here, or by a daemon that holds the state and whose work is watched.
struct RequestedWork {
    enum Kind {
        case rotation
        case compromised
        case rollback
    }

    let kind: Kind
    let names: [SecretName]
    let composition: Composition
    /// How long a pass waits for the next try of a step, or the daemon's work is watched, in seconds.
    let patience: Double

    struct Result {
        let outcomes: [WorkOutcome]
        /// Of what was declared compromised: what still holds or accepts it.
        let exposures: [Exposure]
        let switches: [PauseSwitch]
    }

    func run() async throws -> Result {
        do {
            let running = try await composition.engine(.alone, inlineWait: patience)
            let suspects = try await suspects(running.engine)
            try await ask(running.engine)
            let outcomes = try await Progress.shown { progress in
                try await StopSignals.watching(running) {
                    try await running.engine.pass(only: names, progress: progress)
                }
            }
            let result = Result(
                outcomes: outcomes, exposures: try await running.engine.exposures(of: suspects),
                switches: try await running.engine.switches())
            await running.finish()
            return result
        } catch JournalError.locked {
            return try await askTheDaemon()
        }
    }

    private func suspects(_ engine: Engine) async throws(JournalError) -> [Suspect] {
        guard kind == .compromised else { return [] }
        return try await engine.suspects(of: names)
    }

    private func ask(_ engine: Engine) async throws(JournalError) {
        let actor = ProcessInfo.processInfo.userName
        for name in names {
            switch kind {
            case .rotation: try await engine.request(name, compromised: false, actor: actor)
            case .compromised: try await engine.request(name, compromised: true, actor: actor)
            case .rollback: try await engine.requestRollback(of: name, actor: actor)
            }
        }
    }

    /// Leaves the requests in the journal for the process that drives rotations, and watches what comes of them.
    private func askTheDaemon() async throws -> Result {
        let running = try await composition.engine(.shared)
        let suspects = try await suspects(running.engine)
        let journal = try composition.writeJournal()
        var before: [SecretName: Int] = [:]
        for name in names { before[name] = try await journal.record(of: name)?.current?.number }
        try await ask(running.engine)
        Terminal.tell("the running daemon was asked for it")
        let open = try await Progress.shown { progress in try await stillOpen(journal, progress) }
        var outcomes: [WorkOutcome] = []
        for name in names {
            guard let record = try await journal.record(of: name), !open.contains(name) || patience > 0 else {
                continue
            }
            outcomes.append(outcome(record, isOpen: open.contains(name), before: before[name]))
        }
        let result = Result(
            outcomes: outcomes, exposures: try await running.engine.exposures(of: suspects),
            switches: try await journal.switches())
        await running.finish()
        return result
    }

    private func outcome(_ record: SecretRecord, isOpen: Bool, before: Int?) -> WorkOutcome {
        if let standing = WorkOutcome(standing: record) { return standing }
        if isOpen { return WorkOutcome(secret: record.name, result: .nothingDue) }
        guard kind == .rollback else { return WorkOutcome(secret: record.name, result: .rotated) }
        guard record.current?.number == before else { return WorkOutcome(secret: record.name, result: .rolledBack) }
        return WorkOutcome(
            secret: record.name,
            result: .failed(
                StepFailure(
                    step: "rollback", code: .conflict, message: "it was given up by the daemon",
                    advice: "`keyturn history \(record.name)` says why", at: Date())))
    }

    /// Watches the secrets until all are dealt with, or the patience ends; gives those that are not.
    private func stillOpen(
        _ journal: SQLiteJournal, _ progress: @Sendable (_ done: Int, _ total: Int) -> Void
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
                    record.request == nil && record.rotation == nil
                    && !(kind == .compromised && record.leaving.contains(where: \.tainted))
                if failed || isOver { open.remove(name) }
            }
        }
        return open
    }
}

extension RequestedWork.Result {
    /// Shows what came of it, and ends the command with a status when something is not as it was asked for.
    func conclude(_ options: GlobalOptions, _ verb: String) throws {
        let summary = PassSummary(outcomes: outcomes, exposures: exposures, switches: switches)
        try summary.show(options)
        if summary.status != .done { throw summary.status.code }
        if let name = outcomes.first(where: { $0.foundNothingDue })?.secret {
            // A pause holds back what is compromised too.
            let pause = switches.isEmpty ? "" : "; the request is kept, and begins when the pause is lifted"
            throw CommandFailure(
                .failed, "\(name) was not \(verb) yet\(pause)",
                advice: "`keyturn explain \(name)` says what holds it up")
        }
        if let open = exposures.first(where: { $0.issuerState == .notYet }) {
            throw CommandFailure(
                .failed, "version \(open.version) of \(open.secret) still works: \(open.issuerReason ?? "")",
                advice: "`keyturn explain \(open.secret)` says what holds it up")
        }
    }
}
