import Foundation
import KeyturnCore
import KeyturnEngine
import KeyturnStore

/// Has the engine put promoted values back: by a pass of its own, or by the daemon that holds the state.
struct DriftRepair {
    let composition: Composition
    let names: [SecretName]
    /// How long a failed step is tried again here, or the daemon is watched, in seconds.
    let patience: Double

    func run() async throws -> ExitStatus {
        do {
            let running = try await composition.engine(.alone, inlineWait: patience)
            for name in names { try await request(name, running.engine) }
            let outcomes = try await Progress.shown { progress in
                try await StopSignals.watching(running) {
                    try await running.engine.pass(only: names, progress: progress)
                }
            }
            await running.finish()
            return tell(outcomes)
        } catch JournalError.locked {
            return try await askTheDaemon()
        }
    }

    private func request(_ name: SecretName, _ engine: Engine) async throws {
        try await engine.requestRepair(name, actor: ProcessInfo.processInfo.userName)
    }

    private func askTheDaemon() async throws -> ExitStatus {
        let running = try await composition.engine(.shared)
        for name in names { try await request(name, running.engine) }
        await running.finish()
        Terminal.tell("the running daemon was asked for it")
        let journal = try composition.writeJournal()
        let end = ContinuousClock.now + .seconds(patience)
        var open = Set(names)
        while !open.isEmpty, ContinuousClock.now < end {
            try await SystemTimekeeper().sleep(for: .milliseconds(200))
            for name in open {
                guard let record = try await journal.record(of: name) else { continue }
                let failed = record.rotation?.lastError != nil || record.quarantine != nil
                if failed || record.repairSince == nil && record.rotation == nil { open.remove(name) }
            }
        }
        var outcomes: [WorkOutcome] = []
        for name in names {
            guard let record = try await journal.record(of: name) else { continue }
            if let outcome = WorkOutcome(standing: record) { outcomes.append(outcome) }
        }
        for name in open.sorted() { Terminal.tell("keyturn: \(name) is not repaired yet; the daemon is at it") }
        let status = tell(outcomes)
        return status == .done && !open.isEmpty ? .failed : status
    }

    /// What stood in the way.
    private func tell(_ outcomes: [WorkOutcome]) -> ExitStatus {
        for outcome in outcomes {
            if let quarantine = outcome.quarantine {
                Terminal.tell(
                    "keyturn: \(outcome.secret) is quarantined: \(quarantine.reason); `keyturn resume \(outcome.secret)` "
                        + "goes on")
                continue
            }
            switch outcome.result {
            case .failed(let failure):
                Terminal.tell("keyturn: \(outcome.secret): \(failure.step) failed: \(failure.message)")
                if !failure.advice.isEmpty { Terminal.tell("keyturn: \(failure.advice)") }
            case .journalFailed(let error): Terminal.tell("keyturn: \(outcome.secret): \(error)")
            case .leasedElsewhere:
                Terminal.tell("keyturn: another process works on \(outcome.secret)")
            case .nothingDue, .rotated, .rolledBack: break
            }
        }
        let status = PassSummary(outcomes: outcomes).status
        let isLeased = outcomes.contains { if case .leasedElsewhere = $0.result { true } else { false } }
        return status == .done && isLeased ? .locked : status
    }
}
