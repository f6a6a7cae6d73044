package import Foundation
package import KeyturnCore

/// The journal's contract in memory.
package actor MemoryJournal: Journal {
    private struct Row {
        var record: SecretRecord
        var nextDue: Date?
        var owner: String?
        var leaseUntil = Date.distantPast
        var token: Int64 = 0
    }

    private var rows: [SecretName: Row] = [:]
    private var entries: [AuditEntry] = []
    private var queue: [QueuedAlert] = []
    private var orphanRecords: [String: OrphanRecord] = [:]

    package init() {}

    package func installation() async throws(JournalError) -> Installation {
        Installation(instance: "00000000-0000-4000-8000-000000000000", generation: 1)
    }

    package func record(of secret: SecretName) async throws(JournalError) -> SecretRecord? { rows[secret]?.record }

    package func records() async throws(JournalError) -> [SecretRecord] {
        rows.values.map(\.record).sorted { $0.name < $1.name }
    }

    package func claim(
        _ secret: SecretName, owner: String, now: Date, until: Date
    ) async throws(JournalError) -> Lease? {
        var row = rows[secret] ?? Row(record: SecretRecord(name: secret))
        guard row.owner == nil || row.owner == owner || row.leaseUntil <= now else { return nil }
        row.owner = owner
        row.leaseUntil = until
        row.token += 1
        rows[secret] = row
        return Lease(secret: secret, owner: owner, token: row.token)
    }

    package func renew(_ lease: Lease, until: Date) async throws(JournalError) {
        try check(lease)
        rows[lease.secret]?.leaseUntil = until
    }

    package func release(_ lease: Lease) async throws(JournalError) {
        guard rows[lease.secret]?.token == lease.token else { return }
        rows[lease.secret]?.owner = nil
    }

    package func commit(_ change: JournalChange, under lease: Lease) async throws(JournalError) {
        try check(lease)
        let paused = rows[lease.secret]?.record.pausedSince
        rows[lease.secret]?.record = change.record
        rows[lease.secret]?.record.pausedSince = paused
        rows[lease.secret]?.nextDue = change.nextDue
        for event in change.audit { append(event) }
        for alert in change.alerts { put(alert) }
        for orphan in change.orphans { orphanRecords[orphan.id] = orphan }
    }

    package func due(by date: Date, limit: Int) async throws(JournalError) -> [DueSecret] {
        let due = rows.compactMap { name, row in row.nextDue.map { DueSecret(secret: name, at: $0) } }
        return Array(
            due.filter { $0.at <= date }.sorted { ($0.at, $0.secret) < ($1.at, $1.secret) }.prefix(limit))
    }

    package func earliestDue() async throws(JournalError) -> Date? { rows.values.compactMap(\.nextDue).min() }

    package func setPaused(
        _ paused: Bool, of secret: SecretName, at date: Date, actor: String
    ) async throws(JournalError) {
        var row = rows[secret] ?? Row(record: SecretRecord(name: secret))
        row.record.pausedSince = paused ? row.record.pausedSince ?? date : nil
        row.nextDue = date
        rows[secret] = row
        append(AuditEvent(at: date, kind: paused ? "secret.paused" : "secret.resumed", secret: secret, actor: actor))
    }

    package func audit(_ event: AuditEvent) async throws(JournalError) { append(event) }

    package func auditEntries(
        of secret: SecretName?, after: Int64, limit: Int
    ) async throws(JournalError) -> [AuditEntry] {
        let wanted = entries.filter { $0.sequence > after && (secret == nil || $0.event.secret == secret) }
        return Array(wanted.prefix(limit))
    }

    package func enqueue(_ alerts: [QueuedAlert]) async throws(JournalError) { for alert in alerts { put(alert) } }

    package func dueAlerts(at now: Date, limit: Int) async throws(JournalError) -> [QueuedAlert] {
        Array(queue.filter { $0.nextAttempt <= now }.prefix(limit))
    }

    package func removeAlert(_ alert: QueuedAlert) async throws(JournalError) {
        queue.removeAll { $0.event.id == alert.event.id && $0.sink == alert.sink }
    }

    package func postponeAlert(_ alert: QueuedAlert, until: Date) async throws(JournalError) {
        for index in queue.indices where queue[index].event.id == alert.event.id && queue[index].sink == alert.sink {
            queue[index].attempts += 1
            queue[index].nextAttempt = until
        }
    }

    package func orphans() async throws(JournalError) -> [OrphanRecord] {
        orphanRecords.values.sorted { $0.id < $1.id }
    }

    package func putOrphan(_ orphan: OrphanRecord) async throws(JournalError) { orphanRecords[orphan.id] = orphan }

    private func check(_ lease: Lease) throws(JournalError) {
        guard let row = rows[lease.secret], row.token == lease.token, row.owner == lease.owner else {
            throw .leaseLost(lease.secret)
        }
    }

    private func put(_ alert: QueuedAlert) {
        guard !queue.contains(where: { $0.event.id == alert.event.id && $0.sink == alert.sink }) else { return }
        queue.append(alert)
    }

    private func append(_ event: AuditEvent) {
        let sequence = Int64(entries.count) + 1
        let previous = entries.last?.hash ?? AuditChain.start
        entries.append(
            AuditEntry(
                sequence: sequence, event: event, previousHash: previous,
                hash: AuditChain.digest(sequence: sequence, event: event, previousHash: previous)))
    }
}
