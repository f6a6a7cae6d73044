import Foundation
import KeyturnCore
import TestSupport

/// The durable journal as one process reaches it: a write may be lost with the process, or be durable though the process
/// never hears of it; the disk may be full; a process that was suspended finds that others went on.
struct ProcessJournal: Journal {
    let process: SimulatedProcess
    let world: World

    private static let dead = JournalError.failed("the process died")
    private var base: MemoryJournal { world.journal }

    private func enter() async throws(JournalError) {
        do { try await process.thaw() } catch { throw Self.dead }
    }

    private func write(_ name: String, _ body: () async throws(JournalError) -> Void) async throws(JournalError) {
        try await enter()
        world.counts.writes += 1
        switch world.fateOfWrite() {
        case .durable: return try await body()
        case .full: throw .full("no space left")
        // Torn or lost before the sync, it is as if it had not been written: the log's checksums see to that.
        case .diesBefore: break
        case .diesAfter: try await body()
        }
        process.die("journal.\(name)")
        throw Self.dead
    }

    func installation() async throws(JournalError) -> Installation { try await base.installation() }

    func installationState() async throws(JournalError) -> InstallationState {
        try await enter()
        return try await base.installationState()
    }

    func changeInstallation(
        audit: [AuditEvent], alerts: [QueuedAlert], _ change: @escaping @Sendable (inout InstallationState) -> Void
    ) async throws(JournalError) {
        try await write("installation") { () throws(JournalError) in
            try await base.changeInstallation(audit: audit, alerts: alerts, change)
        }
    }

    func lookAtAll(at date: Date) async throws(JournalError) {
        try await write("look") { () throws(JournalError) in try await base.lookAtAll(at: date) }
    }

    func beginGeneration(at date: Date, audit: AuditEvent) async throws(JournalError) {
        try await write("generation") { () throws(JournalError) in
            try await base.beginGeneration(at: date, audit: audit)
        }
    }

    func record(of secret: SecretName) async throws(JournalError) -> SecretRecord? {
        try await enter()
        return try await base.record(of: secret)
    }

    func records() async throws(JournalError) -> [SecretRecord] {
        try await enter()
        return try await base.records()
    }

    func claim(_ secret: SecretName, owner: String, term: LeaseTerm) async throws(JournalError) -> Lease? {
        try await enter()
        let lease = try await base.claim(secret, owner: owner, term: term)
        world.trace(secret, "p\(process.number) claims \(secret): \(lease.map { "token \($0.token)" } ?? "refused")")
        return lease
    }

    func renew(_ lease: Lease, term: LeaseTerm) async throws(JournalError) {
        try await write("renew") { () throws(JournalError) in try await base.renew(lease, term: term) }
    }

    func release(_ lease: Lease) async throws(JournalError) {
        try await enter()
        try await base.release(lease)
    }

    func commit(_ change: JournalChange, under lease: Lease) async throws(JournalError) {
        try await write("commit") { () throws(JournalError) in
            let name = change.record.name
            let before = base.durable(name)
            try await base.commit(change, under: lease)
            world.trace(name, "p\(process.number) commits \(name): \(change.audit.map(\.kind).joined(separator: " "))")
            world.checkSealed(change, after: before)
            world.checkRecord(change.record)
            world.checkOrphans(name)
        }
    }

    func due(by date: Date, limit: Int) async throws(JournalError) -> [DueSecret] {
        try await enter()
        return try await base.due(by: date, limit: limit)
    }

    func request(
        _ request: SecretRecord.RotationRequest, of secret: SecretName, actor: String
    ) async throws(JournalError) {
        try await enter()
        try await base.request(request, of: secret, actor: actor)
        // From now on, and not from when a process that was suspended was asked.
        world.secrets[secret]?.mayRotateEarly = true
    }

    func requestRepair(of secret: SecretName, at date: Date, actor: String) async throws(JournalError) {
        try await enter()
        try await base.requestRepair(of: secret, at: date, actor: actor)
    }

    func wishes(of secret: SecretName) async throws(JournalError) -> SecretWishes {
        try await enter()
        return try await base.wishes(of: secret)
    }

    func setPaused(_ paused: Bool, of secret: SecretName, at date: Date, actor: String) async throws(JournalError) {
        try await enter()
        try await base.setPaused(paused, of: secret, at: date, actor: actor)
    }

    func audit(_ event: AuditEvent) async throws(JournalError) {
        try await write("audit") { () throws(JournalError) in try await base.audit(event) }
    }

    func auditEntries(of secret: SecretName?, after: Int64, limit: Int) async throws(JournalError) -> [AuditEntry] {
        try await base.auditEntries(of: secret, after: after, limit: limit)
    }

    func enqueue(_ alerts: [QueuedAlert]) async throws(JournalError) {
        try await write("enqueue") { () throws(JournalError) in try await base.enqueue(alerts) }
    }

    func dueAlerts(at now: Date, limit: Int) async throws(JournalError) -> [QueuedAlert] {
        try await enter()
        return try await base.dueAlerts(at: now, limit: limit)
    }

    func removeAlert(_ alert: QueuedAlert) async throws(JournalError) {
        try await write("removeAlert") { () throws(JournalError) in try await base.removeAlert(alert) }
    }

    func postponeAlert(_ alert: QueuedAlert, until: Date) async throws(JournalError) {
        try await write("postponeAlert") { () throws(JournalError) in
            try await base.postponeAlert(alert, until: until)
        }
    }

    func orphans() async throws(JournalError) -> [OrphanRecord] { try await base.orphans() }

    func putOrphan(_ orphan: OrphanRecord) async throws(JournalError) { try await base.putOrphan(orphan) }

    func switches() async throws(JournalError) -> [PauseSwitch] {
        try await enter()
        return try await base.switches()
    }

    func setSwitch(_ pause: PauseSwitch) async throws(JournalError) {
        try await write("setSwitch") { () throws(JournalError) in try await base.setSwitch(pause) }
    }

    func liftSwitch(
        _ scope: PauseSwitch.Scope, at date: Date, actor: String
    ) async throws(JournalError) -> PauseSwitch? {
        var lifted: PauseSwitch?
        try await write("liftSwitch") { () throws(JournalError) in
            lifted = try await base.liftSwitch(scope, at: date, actor: actor)
        }
        return lifted
    }

    func takePlace(_ request: RotationPlaces.Request) async throws(JournalError) -> Date? {
        var opening: Date?
        try await write("takePlace") { () throws(JournalError) in opening = try await base.takePlace(request) }
        return opening
    }

    func failuresInARow() async throws(JournalError) -> Int {
        try await enter()
        return try await base.failuresInARow()
    }
}
