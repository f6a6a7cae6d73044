package import Foundation
package import KeyturnCore
import Synchronization

/// The journal's contract in memory. What it holds can be looked at from outside at any moment.
package final class MemoryJournal: Journal {
    private final class Row: @unchecked Sendable {
        // @unchecked: reached under the journal's lock alone.
        var record: SecretRecord
        var nextDue: Date?
        var owner: String?
        var term: LeaseTerm?
        var token: Int64 = 0

        init(_ secret: SecretName) { record = SecretRecord(name: secret) }

        init(copying other: Row) {
            record = other.record
            nextDue = other.nextDue
            owner = other.owner
            term = other.term
            token = other.token
        }
    }

    private struct State: Sendable {
        var rows: [SecretName: Row] = [:]

        mutating func row(_ secret: SecretName) -> Row {
            if let row = rows[secret] { return row }
            let row = Row(secret)
            rows[secret] = row
            return row
        }

        var entries: [AuditEntry] = []
        var queue: [QueuedAlert] = []
        var orphans: [String: OrphanRecord] = [:]
        var installation = InstallationState()
        var generation = 1
        var syncFailures: (skipped: Int, count: Int, isWritten: Bool) = (0, 0, false)
        var switches: [String: PauseSwitch] = [:]
        var starts: [Start] = []
        var failures = 0
    }

    /// A rotation that took a place.
    private struct Start {
        let secret: SecretName
        let version: Int
        let at: Date
    }

    private let state = Mutex(State())
    private let keepsAudit: Bool

    /// - Parameter keepsAudit: whether audit entries are chained and kept. Long simulations do without.
    package init(keepsAudit: Bool = true) { self.keepsAudit = keepsAudit }

    // MARK: For tests

    package func durable(_ secret: SecretName) -> SecretRecord? { state.withLock { $0.rows[secret]?.record } }
    package var durableRecords: [SecretRecord] { state.withLock { $0.rows.values.map(\.record) } }
    package var durableOrphans: [String: OrphanRecord] { state.withLock { $0.orphans } }
    /// A copy, as a backup is one.
    package func copy() -> MemoryJournal {
        let copy = MemoryJournal(keepsAudit: keepsAudit)
        let saved = state.withLock { state in
            var saved = state
            saved.rows = state.rows.mapValues { Row(copying: $0) }
            return saved
        }
        copy.state.withLock { $0 = saved }
        return copy
    }

    package var entryCount: Int { state.withLock { $0.entries.count } }

    package func hasOrphan(_ id: String) -> Bool { state.withLock { $0.orphans[id] != nil } }
    package func nextDue(of secret: SecretName) -> Date? { state.withLock { $0.rows[secret]?.nextDue } }

    /// `count` commits fail in their last step, after some that do not; `isWritten` leaves there what they wrote.
    package func failSyncs(after skipped: Int, _ count: Int, isWritten: Bool) {
        state.withLock { $0.syncFailures = (skipped, count, isWritten) }
    }

    package func markPaused(_ paused: Bool, of secret: SecretName, at date: Date, actor: String) {
        state.withLock { state in
            let row = state.row(secret)
            row.record.pausedSince = paused ? row.record.pausedSince ?? date : nil
            row.nextDue = date
            let kind = paused ? "secret.paused" : "secret.resumed"
            append(AuditEvent(at: date, kind: kind, secret: secret, actor: actor), &state)
        }
    }

    // MARK: Journal

    package func installation() async throws(JournalError) -> Installation {
        Installation(
            instance: "00000000-0000-4000-8000-000000000000", generation: state.withLock { $0.generation })
    }

    package func installationState() async throws(JournalError) -> InstallationState {
        state.withLock { $0.installation }
    }

    package func changeInstallation(
        audit: [AuditEvent], alerts: [QueuedAlert], _ change: @escaping @Sendable (inout InstallationState) -> Void
    ) async throws(JournalError) {
        state.withLock { state in
            change(&state.installation)
            for event in audit { append(event, &state) }
            for alert in alerts { Self.put(alert, &state) }
        }
    }

    package func beginGeneration(at date: Date, audit: AuditEvent) async throws(JournalError) {
        state.withLock { state in
            state.generation += 1
            state.installation.restored = nil
            Self.lookAtAll(at: date, &state)
            append(audit, &state)
        }
    }

    package func lookAtAll(at date: Date) async throws(JournalError) {
        state.withLock { Self.lookAtAll(at: date, &$0) }
    }

    private static func lookAtAll(at date: Date, _ state: inout State) {
        for row in state.rows.values { row.nextDue = min(date, row.nextDue ?? date) }
        for index in state.queue.indices {
            state.queue[index].nextAttempt = min(date, state.queue[index].nextAttempt)
        }
    }

    package func record(of secret: SecretName) async throws(JournalError) -> SecretRecord? { durable(secret) }

    package func records() async throws(JournalError) -> [SecretRecord] {
        durableRecords.sorted { $0.name < $1.name }
    }

    package func claim(_ secret: SecretName, owner: String, term: LeaseTerm) async throws(JournalError) -> Lease? {
        state.withLock { state in
            let row = state.row(secret)
            if let held = row.term, row.owner != nil, row.owner != owner, !held.isOver(at: term.from) { return nil }
            row.owner = owner
            row.term = term
            row.token += 1
            return Lease(secret: secret, owner: owner, token: row.token)
        }
    }

    package func renew(_ lease: Lease, term: LeaseTerm) async throws(JournalError) {
        try change { (state) throws(JournalError) in
            try Self.row(of: lease, state).term = term
        }
    }

    package func release(_ lease: Lease) async throws(JournalError) {
        state.withLock { state in
            guard let row = state.rows[lease.secret], row.token == lease.token else { return }
            row.owner = nil
        }
    }

    package func commit(_ change: JournalChange, under lease: Lease) async throws(JournalError) {
        try self.change { (state) throws(JournalError) in
            let row = try Self.row(of: lease, state)
            state.syncFailures.skipped -= 1
            let fails = state.syncFailures.skipped < 0 && state.syncFailures.count > 0
            if fails { state.syncFailures.count -= 1 }
            if fails, !state.syncFailures.isWritten { throw .failed("the sync failed") }
            let wishes = row.record.wishes
            row.record = change.record
            row.record.wishes = wishes
            if let request = wishes.request, change.fulfills(request) { row.record.request = nil }
            if let repaired = change.repaired, wishes.repairSince == repaired { row.record.repairSince = nil }
            row.nextDue = change.nextDue
            for event in change.audit { append(event, &state) }
            for alert in change.alerts { Self.put(alert, &state) }
            for orphan in change.orphans { state.orphans[orphan.id] = orphan }
            if let tally = change.tally { count(tally, &state) }
            if fails { throw .failed("the sync failed") }
        }
    }

    package func due(by date: Date, limit: Int) async throws(JournalError) -> [DueSecret] {
        let due = state.withLock { state in
            state.rows.compactMap { name, row -> DueSecret? in
                guard let at = row.nextDue, at <= date else { return nil }
                return DueSecret(secret: name, at: at)
            }
        }
        return Array(due.sorted { ($0.at, $0.secret) < ($1.at, $1.secret) }.prefix(limit))
    }

    package func request(
        _ request: SecretRecord.RotationRequest, of secret: SecretName, actor: String
    ) async throws(JournalError) {
        state.withLock { state in
            let row = state.row(secret)
            row.record.request = request.joined(with: row.record.request)
            row.nextDue = request.at
            append(request.auditEvent(of: secret, actor: actor), &state)
        }
    }

    package func requestRepair(of secret: SecretName, at date: Date, actor: String) async throws(JournalError) {
        state.withLock { state in
            let row = state.row(secret)
            row.record.repairSince = date
            row.nextDue = date
            append(AuditEvent(at: date, kind: "distribution.requested", secret: secret, actor: actor), &state)
        }
    }

    package func wishes(of secret: SecretName) async throws(JournalError) -> SecretWishes {
        durable(secret)?.wishes ?? SecretWishes()
    }

    package func setPaused(
        _ paused: Bool, of secret: SecretName, at date: Date, actor: String
    ) async throws(JournalError) {
        markPaused(paused, of: secret, at: date, actor: actor)
    }

    package func audit(_ event: AuditEvent) async throws(JournalError) { state.withLock { append(event, &$0) } }

    package func auditEntries(
        of secret: SecretName?, after: Int64, limit: Int
    ) async throws(JournalError) -> [AuditEntry] {
        let entries = state.withLock { $0.entries }
        let wanted = entries.filter { $0.sequence > after && (secret == nil || $0.event.secret == secret) }
        return Array(wanted.prefix(limit))
    }

    package func enqueue(_ alerts: [QueuedAlert]) async throws(JournalError) {
        state.withLock { state in for alert in alerts { Self.put(alert, &state) } }
    }

    package func dueAlerts(at now: Date, limit: Int) async throws(JournalError) -> [QueuedAlert] {
        state.withLock { Array($0.queue.filter { $0.nextAttempt <= now }.prefix(limit)) }
    }

    package func removeAlert(_ alert: QueuedAlert) async throws(JournalError) {
        state.withLock { $0.queue.removeAll { $0.event.id == alert.event.id && $0.sink == alert.sink } }
    }

    package func postponeAlert(_ alert: QueuedAlert, until: Date) async throws(JournalError) {
        state.withLock { state in
            for index in state.queue.indices
            where state.queue[index].event.id == alert.event.id && state.queue[index].sink == alert.sink {
                state.queue[index].attempts += 1
                state.queue[index].nextAttempt = until
            }
        }
    }

    package func orphans() async throws(JournalError) -> [OrphanRecord] {
        durableOrphans.values.sorted { $0.id < $1.id }
    }

    package func putOrphan(_ orphan: OrphanRecord) async throws(JournalError) {
        state.withLock { $0.orphans[orphan.id] = orphan }
    }

    // MARK: Emergencies

    package func switches() async throws(JournalError) -> [PauseSwitch] {
        state.withLock { state in state.switches.sorted { $0.key < $1.key }.map(\.value) }
    }

    package func setSwitch(_ pause: PauseSwitch) async throws(JournalError) {
        state.withLock { put(pause, &$0) }
    }

    package func liftSwitch(
        _ scope: PauseSwitch.Scope, at date: Date, actor: String
    ) async throws(JournalError) -> PauseSwitch? {
        state.withLock { state in
            if scope == .everything { state.failures = 0 }
            guard let lifted = state.switches.removeValue(forKey: scope.text) else { return nil }
            for row in state.rows.values { row.nextDue = min(row.nextDue ?? date, date) }
            append(PauseSwitch.lifted(scope, at: date, actor: actor), &state)
            return lifted
        }
    }

    package func takePlace(_ request: RotationPlaces.Request) async throws(JournalError) -> Date? {
        state.withLock { state in
            state.starts.removeAll { $0.at <= request.at.addingTimeInterval(-RotationPlaces.span) }
            guard !state.starts.contains(where: { $0.secret == request.secret && $0.version == request.version })
            else { return nil }
            if let limit = request.limit {
                let mine = (request.expiresAt ?? .distantFuture, request.secret)
                // Who has a place stands in line no more, also before its record says so.
                let served = state.starts.map { [$0.secret.text, String($0.version)] }
                let ahead = state.rows.count { name, row in
                    guard let waiting = row.record.waiting,
                        !served.contains([name.text, String(row.record.nextNumber)])
                    else { return false }
                    return (waiting.expiresAt ?? .distantFuture, name) < mine
                }
                let opening = RotationPlaces.opening(
                    began: state.starts.map(\.at).sorted(), ahead: ahead, limit: limit, at: request.at)
                if let opening { return opening }
            }
            state.starts.append(Start(secret: request.secret, version: request.version, at: request.at))
            return nil
        }
    }

    package func failuresInARow() async throws(JournalError) -> Int { state.withLock { $0.failures } }

    private func put(_ pause: PauseSwitch, _ state: inout State) {
        state.switches[pause.scope.text] = state.switches[pause.scope.text] ?? pause
        append(pause.auditEvent, &state)
    }

    private func count(_ tally: RotationTally, _ state: inout State) {
        switch tally {
        case .succeeded: state.failures = 0
        case .failed(let rule):
            state.failures += 1
            guard state.failures >= rule.limit, state.switches[rule.pause.scope.text] == nil else { return }
            put(rule.pause, &state)
            for alert in rule.alerts { Self.put(alert, &state) }
        }
    }

    // MARK: Inside

    private func change(_ body: (inout State) throws(JournalError) -> Void) throws(JournalError) {
        let result: Result<Void, JournalError> = state.withLock { state in
            do throws(JournalError) { return .success(try body(&state)) } catch { return .failure(error) }
        }
        try result.get()
    }

    private static func row(of lease: Lease, _ state: State) throws(JournalError) -> Row {
        guard let row = state.rows[lease.secret], row.token == lease.token, row.owner == lease.owner else {
            throw .leaseLost(lease.secret)
        }
        return row
    }

    private static func put(_ alert: QueuedAlert, _ state: inout State) {
        guard !state.queue.contains(where: { $0.event.id == alert.event.id && $0.sink == alert.sink }) else { return }
        state.queue.append(alert)
    }

    private func append(_ event: AuditEvent, _ state: inout State) {
        guard keepsAudit else { return }
        let sequence = (state.entries.last?.sequence ?? 0) + 1
        let previous = state.entries.last?.hash ?? AuditChain.start
        state.entries.append(
            AuditEntry(
                sequence: sequence, event: event, previousHash: previous,
                hash: AuditChain.digest(sequence: sequence, event: event, previousHash: previous)))
    }
}
