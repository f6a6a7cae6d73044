import Foundation
package import KeyturnCore
package import Logging

/// Drives every due rotation through the ports: once for cron, or for as long as the daemon lives.
package actor Engine {
    let core: EngineCore
    private(set) var workplace: Workplace
    /// Grows with each reload.
    private(set) var edition = 0
    let doorbell = Doorbell()

    /// - Parameter owner: names this process in leases, such as host and process id.
    package init(
        journal: any Journal, sealer: any Sealer, workplace: Workplace, settings: EngineSettings = EngineSettings(),
        time: any Timekeeper = SystemTimekeeper(), random: SharedRandomness = SharedRandomness(),
        stop: StopSignal = StopSignal(), witnesses: ClockWitnesses = ClockWitnesses(), owner: String, logger: Logger
    ) async throws(JournalError) {
        core = EngineCore(
            journal: journal, sealer: sealer, time: time, settings: settings,
            gates: SystemGates(settings: settings, time: time), logger: logger, owner: owner,
            installation: try await journal.installation(), random: random, stop: stop,
            clock: ClockWatch(
                journal: journal, time: time, witnesses: witnesses, tolerance: settings.clockTolerance, random: random,
                logger: logger))
        self.workplace = workplace
    }

    /// Puts other policies or systems in force. Rotations under way go on under them.
    package func reload(_ workplace: Workplace) async throws(JournalError) {
        self.workplace = workplace
        edition += 1
        try await enroll()
        doorbell.ring()
    }

    /// Tells the sinks that a reload was refused and the old policies stay in force.
    package func reportRefusedReload(_ summary: String) async throws(JournalError) {
        let now = core.time.now()
        let event = AlertEvent(
            id: "msg_\(core.random.nonce())", kind: .reloadFailed, severity: .error, secret: nil, owner: nil,
            version: nil, step: nil, reason: "reload", summary: summary,
            advice: "run `keyturn validate`, mend what it shows and reload again", occurredAt: now)
        try await core.journal.enqueue(
            workplace.sinks.keys.sorted().map { QueuedAlert(event: event, sink: $0, nextAttempt: now) })
        doorbell.ring()
    }

    /// Asks for a rotation now, whatever the schedule says. It begins with the next look at the secret; one that is under
    /// way fulfils it.
    package func request(_ secret: SecretName, compromised: Bool, actor: String) async throws(JournalError) {
        let request = SecretRecord.RotationRequest(at: core.time.now(), compromised: compromised)
        try await core.journal.request(request, of: secret, actor: actor)
        doorbell.ring()
    }

    /// Has the daemon look at the journal at once.
    func wake() { doorbell.ring() }

    /// Lifts a quarantine; the failed step is tried again with the same key. A pause stays, and the audit trail says
    /// `secret.resumed` only once that is lifted too.
    package func release(_ secret: SecretName, actor: String) async throws(JournalError) {
        let desk = AlertDesk(
            core: core, policy: workplace.policies[secret],
            sinks: workplace.sinkNames(for: workplace.policies[secret]), now: core.time.now())
        try await core.change(secret) { record, outbox, now in
            for var version in record.leaving where version.retirement?.undone != nil {
                version.retirement?.undone = nil
                record.put(version)
                desk.clear([.retireBlocked], in: &record, &outbox)
            }
            guard record.quarantine != nil else { return }
            record.quarantine = nil
            record.abandonedInARow = 0
            record.rotation?.attempt = 0
            record.rotation?.nextAttempt = nil
            record.rotation?.lostKeys = 0
            record.rotation?.countedAsFailed = nil
            if record.pausedSince == nil {
                outbox.audit.append(AuditEvent(at: now, kind: "secret.resumed", secret: secret, actor: actor))
            }
            desk.clear([.quarantined], in: &record, &outbox)
        }
        doorbell.ring()
    }

    /// Accepts this machine's clock as it is, whatever the journal has seen.
    package func acceptClock(actor: String) async throws(JournalError) {
        let reading = core.time.reading()
        let rules = ClockGuard(tolerance: core.settings.clockTolerance)
        try await core.journal.changeInstallation(
            audit: [AuditEvent(at: reading.wall, kind: "clock.accepted", secret: nil, actor: actor)], alerts: []
        ) { state in
            // The next look finds them in agreement, and tells so.
            let mark = rules.accepting(reading, after: state.clock)
            state.clock = ClockMark(reading, steps: mark.steps, disagreement: state.clock?.disagreement)
        }
        doorbell.ring()
    }

    /// Reads a key that was made elsewhere, in the form in which the issuer of the policy hands it out, or else in one of
    /// the usual forms.
    ///
    /// - Throws: ``AdoptError``; ``InvalidAdoptedKey``.
    package func read(_ content: SecretValue, for secret: SecretName) throws -> IssuedKey {
        guard let policy = workplace.policies[secret] else { throw AdoptError.noPolicy(secret) }
        guard let issuer = workplace.issuers[policy.issuer] as? any ReadsDownloadedKeys else {
            return try AdoptedKey.parse(content, now: core.time.now())
        }
        return try issuer.read(content, now: core.time.now())
    }

    /// Takes over a key that was made elsewhere as the current version. The next look at the secret puts it into the
    /// policy's backends.
    ///
    /// - Throws: ``AdoptError``; ``JournalError``.
    package func adopt(_ key: IssuedKey, as secret: SecretName, actor: String) async throws {
        guard let policy = workplace.policies[secret] else { throw AdoptError.noPolicy(secret) }
        let writing = VersionWriting(core: core, workplace: workplace, secret: secret)
        let sealed = try writing.seal(key.material)
        var refusal: AdoptError?
        try await core.change(secret) { record, outbox, now in
            guard record.current == nil, record.rotation == nil else {
                refusal = .alreadyManaged(secret)
                return
            }
            var version = VersionRecord(
                number: record.nextNumber, stage: .current, keyID: key.keyID, issuedAt: key.issuedAt,
                expiresAt: key.expiresAt, sealed: sealed, issuer: policy.issuer, issueParameters: policy.issue,
                adopted: true)
            version.promotedAt = now
            record.put(version)
            record.schedule = SecretRecord.ScheduleMark(
                digest: policy.origin.scheduleDigest, since: now, replacedAnother: false)
            outbox.audit.append(
                AuditEvent(
                    at: now, kind: "version.adopted", secret: secret, version: version.number, actor: actor,
                    detail: key.keyID.map { ["keyId": $0] } ?? [:]))
        }
        if let refusal { throw refusal }
        doorbell.ring()
    }

    /// Makes every policy's secret known, so that the index of due times holds it, and looks again at those whose policy
    /// changed or is gone.
    ///
    /// - Parameter only: looks at this secret alone.
    func enroll(only: SecretName? = nil) async throws(JournalError) {
        let now = core.time.now()
        let records: [SecretRecord]
        if let only {
            records = try await core.journal.record(of: only).map { [$0] } ?? []
        } else {
            records = try await core.journal.records()
        }
        let known = Dictionary(records.map { ($0.name, $0) }) { first, _ in first }
        let worker = SecretWorker(core: core, workplace: workplace)
        for name in only.map({ [$0] }) ?? Set(workplace.policies.keys).union(known.keys).sorted() {
            let policy = workplace.policies[name]
            let record = known[name] ?? SecretRecord(name: name)
            let lacksPlaces = record.current.map { policy?.places(lacking: $0).isEmpty == false } ?? false
            let waitsInVain = record.waiting.map { $0.limit != core.settings.maxRotationsPerHour } ?? false
            guard
                record.schedule?.digest != policy?.origin.scheduleDigest || record.rotation != nil || lacksPlaces
                    || waitsInVain
            else { continue }
            let term = core.leaseTerm()
            // Under a name of its own, so that it takes no lease from a worker of this engine. Who works on it now looks at
            // it again afterwards.
            guard let lease = try await core.journal.claim(name, owner: core.visitor, term: term) else { continue }
            var session = SecretSession(
                record: try await core.journal.record(of: name) ?? record, lease: lease, core: core, term: term)
            do throws(JournalError) {
                let mark = policy.map {
                    SecretRecord.ScheduleMark(
                        digest: $0.origin.scheduleDigest, since: now, replacedAnother: session.record.schedule != nil)
                }
                var marked = session.record
                if let mark, marked.schedule?.digest != mark.digest { marked.schedule = mark }
                let plan = try await worker.plan(marked, policy)
                try await session.finish(nextDue: plan.nextLook) { record, _ in record.schedule = marked.schedule }
            } catch {
                await session.release()
                throw error
            }
            await session.release()
        }
    }

    /// Asks for the end: no new step begins, those in flight are given time to finish.
    nonisolated package func askToStop() {
        core.stop.ask()
        doorbell.ring()
    }

    /// One pass for cron or a timer: everything due, or all that is named, then the alerts.
    ///
    /// - Parameters:
    ///   - only: works on these secrets, due or not, and on no others.
    ///   - progress: is told how many secrets are done, and how many there are as far as is known.
    package func pass(
        only: [SecretName]? = nil, progress: @escaping @Sendable (_ done: Int, _ total: Int) -> Void = { _, _ in }
    ) async throws(JournalError) -> [WorkOutcome] {
        let sinks = workplace.sinks.keys.sorted()
        try await core.clock.look(telling: sinks)
        if only == nil { try await enroll() }
        var outcomes: [SecretName: WorkOutcome] = [:]
        var due = if let only { only } else { try await dueNow(outcomes) }
        while !due.isEmpty, !core.stop.isAsked {
            let before = outcomes.count
            let total = before + due.count { outcomes[$0] == nil }
            let finished = await work(on: due, tidiesUp: only == nil) { done in
                progress(min(before + done, total), total)
            }
            for outcome in finished { outcomes[outcome.secret] = outcome }
            let freed = try await successorsFreed(outcomes)
            if let only {
                due = freed.filter(only.contains)
            } else {
                let linedUp = outcomes.values.filter(\.linesUp).map(\.secret)
                due = Set(try await dueNow(outcomes)).union(freed).union(linedUp).sorted()
            }
        }
        if only == nil {
            // A pass that could not help a secret does not look as if all were well.
            for record in try await core.journal.records() where outcomes[record.name]?.foundNothingDue ?? true {
                if let standing = WorkOutcome(standing: record) { outcomes[record.name] = standing }
            }
        }
        // Those that were asked have said their time.
        try await core.clock.look(telling: sinks)
        _ = try await AlertDispatcher(core: core).deliverDue(workplace.sinks)
        return outcomes.values.sorted { $0.secret < $1.secret }
    }

    /// What is due and had no turn in this pass.
    private func dueNow(_ outcomes: [SecretName: WorkOutcome]) async throws(JournalError) -> [SecretName] {
        let limit = 10_000 + outcomes.count
        let now = core.time.now()
        // A pass that has patience waits for the next try of what is under way, also when it failed in an earlier pass.
        let soon = try await core.journal.due(by: now.addingTimeInterval(core.settings.inlineWait), limit: limit)
        var due: [SecretName] = []
        for entry in soon where outcomes[entry.secret] == nil {
            if entry.at > now {
                guard let record = try await core.journal.record(of: entry.secret),
                    record.rotation != nil || !record.stuckRetirements.isEmpty
                else { continue }
            }
            due.append(entry.secret)
        }
        return due
    }

    /// Secrets that waited for a predecessor which has had its turn in this pass.
    private func successorsFreed(_ outcomes: [SecretName: WorkOutcome]) async throws(JournalError) -> [SecretName] {
        var freed: [SecretName] = []
        let worker = SecretWorker(core: core, workplace: workplace)
        for (name, policy) in workplace.policies where policy.after.contains(where: { outcomes[$0] != nil }) {
            if let outcome = outcomes[name], !outcome.foundNothingDue { continue }
            let record = try await core.journal.record(of: name) ?? SecretRecord(name: name)
            if try await worker.plan(record, policy).isDue(at: core.time.now()) { freed.append(name) }
        }
        return freed.sorted()
    }

    private func work(
        on secrets: [SecretName], tidiesUp: Bool, _ progress: @escaping @Sendable (_ done: Int) -> Void
    ) async -> [WorkOutcome] {
        // In a pass all that are due have lined up when the first one is worked on again.
        let worker = SecretWorker(core: core, workplace: workplace, lineUpTime: 0, tidiesUp: tidiesUp)
        let width = max(1, core.settings.concurrency)
        let stop = core.stop
        return await withStopPatience {
            await withTaskGroup(of: WorkOutcome.self) { group in
                var waiting = secrets[...]
                var outcomes: [WorkOutcome] = []
                progress(0)
                for _ in 0..<min(width, secrets.count) {
                    if let next = waiting.popFirst() { group.addTask { await worker.work(on: next) } }
                }
                while let outcome = await group.next() {
                    outcomes.append(outcome)
                    progress(outcomes.count)
                    if !stop.isAsked, let next = waiting.popFirst() {
                        group.addTask { await worker.work(on: next) }
                    }
                }
                return outcomes
            }
        }
    }

    /// Runs `body`; once a stop is asked for, it has the stop patience to finish, then it is cancelled.
    private func withStopPatience<Result: Sendable>(_ body: @escaping @Sendable () async -> Result) async -> Result {
        let core = core
        return await withTaskGroup(of: Result?.self) { group in
            group.addTask { await body() }
            group.addTask {
                var patience = core.settings.stopPatience
                while !Task.isCancelled, patience > 0 {
                    do { try await core.time.sleep(for: .milliseconds(100)) } catch { return nil }
                    if core.stop.isAsked { patience -= 0.1 }
                }
                return nil
            }
            var result: Result?
            while let finished = await group.next() {
                group.cancelAll()
                if let finished { result = finished }
            }
            // The first task always ends with a result.
            guard let result else { return await body() }
            return result
        }
    }

    /// The daemon: works on what is due until a stop is asked for.
    ///
    /// - Throws: ``JournalError`` when the journal can't be read; what is in flight is parked first.
    package func run() async throws(JournalError) {
        try await enroll()
        let scheduler = Scheduler(engine: self, core: core, doorbell: doorbell)
        try await scheduler.run()
    }
}

/// Why a key can't be adopted.
package enum AdoptError: Error, Sendable, Equatable, CustomStringConvertible {
    case noPolicy(SecretName)
    case alreadyManaged(SecretName)

    package var description: String {
        switch self {
        case .noPolicy(let secret): "no policy names \(secret); write one first, then adopt its key"
        case .alreadyManaged(let secret):
            "\(secret) already has a version that Keyturn keeps; `keyturn rotate \(secret)` replaces it"
        }
    }
}
