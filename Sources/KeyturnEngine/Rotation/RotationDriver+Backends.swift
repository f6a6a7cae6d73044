import Foundation
import KeyturnCore

extension RotationDriver {
    /// What one backend answered.
    private struct Answer: Sendable {
        let backend: String
        let outcome: Result<Outcome, SystemError>
    }

    private enum Outcome: Sendable {
        case staged(Receipt)
        case deferred(String)
        case promoted(Receipt)
        case unstaged
    }

    /// Stages the pending version wherever it can be held unseen.
    func stage(_ session: inout SecretSession) async throws(JournalError) -> StepResult {
        guard let rotation = session.record.rotation else { return .moved }
        let names = rotation.machine.backends.filter { $0.progress == .waiting }.map(\.name)
        try await intend(names.map { .stage(backend: $0) }, &session)
        return try await forEach(names, step: RotationStep.stage, &session) { backend, write in
            { [self] () async throws(SystemError) in
                let adapter = try workplace.backend(backend.target.backend)
                let write = try write()
                let result = try await core.gates.call(.backend(backend.target.backend)) { () throws(SystemError) in
                    try await adapter.stage(write, at: backend.target)
                }
                switch result {
                case .deferred(let reason): return .deferred(reason)
                case .staged(let receipt):
                    let stored = VersionReference(
                        secret: secret, version: write.version, receipt: receipt, value: write.value)
                    try await readBack.confirm(
                        .version(stored), holds: write.value, at: backend.target,
                        patience: core.settings.readBackPatience)
                    return .staged(receipt)
                }
            }
        }
    }

    /// Makes the version current everywhere. The intent closes the way back.
    func promote(_ session: inout SecretSession) async throws(JournalError) -> StepResult {
        guard let rotation = session.record.rotation else { return .moved }
        let names = rotation.machine.backends.filter(\.awaitsPromote).map(\.name)
        // The old key's grace is counted from now on: a clock that is wrong now must be known to have been.
        try await core.clock.look(telling: workplace.sinks.keys.sorted())
        try await intend(names.map { .promote(backend: $0) }, &session) { record, outbox in
            for name in names { apply(.promoteIntended(backend: name), to: &record, &outbox) }
        }
        return try await forEach(names, step: RotationStep.promote, &session) { backend, write in
            { [self] () async throws(SystemError) in
                let adapter = try workplace.backend(backend.target.backend)
                let write = try write()
                let receipt = try await core.gates.call(.backend(backend.target.backend)) { () throws(SystemError) in
                    try await adapter.promote(write, at: backend.target)
                }
                try await readBack.confirm(
                    .current, holds: write.value, at: backend.target, patience: core.settings.readBackPatience)
                return .promoted(receipt)
            }
        }
    }

    /// Takes the pending version away from the backends that hold it.
    func unstage(_ session: inout SecretSession) async throws(JournalError) -> StepResult {
        guard let rotation = session.record.rotation, let version = session.record.version(rotation.version) else {
            return .moved
        }
        let names = rotation.machine.backends.filter { $0.progress == .staged }.map(\.name)
        try await intend(names.map { .unstage(backend: $0) }, &session)
        return try await forEach(names, step: RotationStep.unstage, &session) { backend, _ in
            { [self] () async throws(SystemError) in
                let adapter = try workplace.backend(backend.target.backend)
                let reference = writing.reference(version, at: backend)
                try await core.gates.call(.backend(backend.target.backend)) { () throws(SystemError) in
                    try await adapter.unstage(reference, at: backend.target)
                }
                return .unstaged
            }
        }
    }

    /// Takes a step at several backends side by side, commits each answer as it comes, and gives the first failure of
    /// a required one.
    private func forEach(
        _ names: [String], step: (String) -> RotationStep, _ session: inout SecretSession,
        _ work: (
            VersionRecord.StoredBackend, @escaping @Sendable () throws(SystemError) -> VersionWrite
        ) -> @Sendable () async throws(SystemError) -> Outcome
    ) async throws(JournalError) -> StepResult {
        guard let rotation = session.record.rotation, let version = session.record.version(rotation.version) else {
            return .moved
        }
        let record = session.record
        var jobs: [(String, @Sendable () async throws(SystemError) -> Outcome)] = []
        for name in names {
            guard let backend = version.backends.first(where: { $0.target.backend == name }) else { continue }
            let overwrite =
                policy?.backends.first { $0.name == name }?.overwrite == true
                || rotation.repairs?.contains(name) == true
            let replaced = record.replaced(by: version.number, at: backend.target)
            let write: @Sendable () throws(SystemError) -> VersionWrite = { [self] () throws(SystemError) in
                try writing.write(version, to: backend, replacing: replaced, overwrite: overwrite)
            }
            jobs.append((name, work(backend, write)))
        }
        var answers: [Answer] = []
        do {
            // The session is not handed to the children: answers are committed here, one by one.
            try await withThrowingTaskGroup(of: Answer.self) { group in
                for (name, job) in jobs {
                    group.addTask {
                        do throws(SystemError) {
                            return Answer(backend: name, outcome: .success(try await job()))
                        } catch { return Answer(backend: name, outcome: .failure(error)) }
                    }
                }
                for try await answer in group {
                    answers.append(answer)
                    if case .success(let outcome) = answer.outcome {
                        try await take(outcome, from: answer.backend, step(answer.backend), &session)
                    }
                }
            }
        } catch let error as JournalError {
            throw error
        } catch {
            throw JournalError.failed("the steps could not be recorded")
        }
        return try await judge(answers, step, &session)
    }

    private func take(
        _ outcome: Outcome, from backend: String, _ step: RotationStep, _ session: inout SecretSession
    ) async throws(JournalError) {
        try await session.commit { record, outbox in
            var detail: [String: String] = [:]
            let event: RotationMachine.Event
            switch outcome {
            case .staged(let receipt):
                record.setReceipt(receipt, of: backend)
                event = .staged(backend: backend)
            case .deferred(let reason):
                detail["deferred"] = reason
                event = .deferred(backend: backend)
            case .promoted(let receipt):
                record.setReceipt(receipt, of: backend)
                event = .promoted(backend: backend)
            case .unstaged: event = .unstaged(backend: backend)
            }
            succeed(step, in: &record, &outbox, detail: detail)
            apply(event, to: &record, &outbox)
            settleWhenDone(&record, &outbox)
        }
    }

    /// A best-effort backend is given up after a while; the first failure of a required one stops the rotation for now.
    private func judge(
        _ answers: [Answer], _ step: (String) -> RotationStep, _ session: inout SecretSession
    ) async throws(JournalError) -> StepResult {
        var first: StepResult = .moved
        for answer in answers {
            guard case .failure(let error) = answer.outcome else { continue }
            let required = session.record.rotation?.machine.progress(of: answer.backend)?.required ?? true
            if !required, error.code != .cancelled, error.code != .circuitOpen {
                let failures = (session.record.rotation?.bestEffortFailures[answer.backend] ?? 0) + 1
                let isOver = error.disposition == .permanent || failures >= core.settings.bestEffortAttempts
                try await note(error, failures, isOver, at: step(answer.backend), answer.backend, &session)
                if isOver { continue }
            }
            if case .moved = first { first = .failed(step(answer.backend), error) }
        }
        return first
    }

    private func note(
        _ error: SystemError, _ failures: Int, _ isOver: Bool, at step: RotationStep, _ backend: String,
        _ session: inout SecretSession
    ) async throws(JournalError) {
        let desk = desk()
        try await session.commit { record, outbox in
            record.rotation?.bestEffortFailures[backend] = failures
            guard isOver else { return }
            core.answered(
                step.text, version: record.rotation?.version ?? 0, as: .givenUp,
                action: "the best-effort backend was left behind", in: &record, &outbox)
            apply(.gaveUp(backend: backend), to: &record, &outbox)
            outbox.audit.append(
                AuditEvent(
                    at: desk.now, kind: "step.given-up", secret: record.name, version: record.rotation?.version,
                    step: step.text, detail: ["code": error.code.rawValue]))
            desk.tell(
                .rotationFailed, severity: .warning, version: record.rotation?.version, reason: error.code.rawValue,
                summary: "best-effort backend '\(backend)' of \(record.name) was left behind: \(error.message)",
                advice: error.advice, about: record.name, &outbox)
            settleWhenDone(&record, &outbox)
        }
    }
}

extension SecretRecord {
    /// The newest other version that a place may show: not always the current one, which a place that left the policy and
    /// joined it again, or that joins while it is replaced, never had.
    func replaced(by number: Int, at target: BackendTarget) -> VersionRecord? {
        let others = versions.filter { version in
            version.number != number && version.backends.contains { $0.target.isSamePlace(as: target) }
        }
        // After a way back it is not the one with the highest number.
        return others.first { $0.stage == .current } ?? others.last(where: \.isLeaving)
    }

    /// Keeps what a backend answered for the version in rotation.
    mutating func setReceipt(_ receipt: Receipt, of backend: String) {
        guard let number = rotation?.version, var version = version(number) else { return }
        for index in version.backends.indices where version.backends[index].target.backend == backend {
            version.backends[index].receipt.merge(receipt) { _, new in new }
        }
        put(version)
    }
}
