package import Foundation
package import KeyturnCore

/// A journal at each of whose durable writes the process may die.
package struct CrashingJournal: Journal {
    private let base: any Journal
    private let plan: CrashPlan

    package init(_ base: any Journal, plan: CrashPlan) {
        self.base = base
        self.plan = plan
    }

    private static let dead = JournalError.failed("the process died")

    private func write(_ name: String, _ body: () async throws(JournalError) -> Void) async throws(JournalError) {
        let fate: CrashPlan.Instant?
        do { fate = try plan.fate(of: "journal.\(name)") } catch { throw Self.dead }
        if fate == .before { throw Self.dead }
        try await body()
        if fate == .after { throw Self.dead }
    }

    private func alive() throws(JournalError) {
        if plan.isDead { throw Self.dead }
    }

    package func installation() async throws(JournalError) -> Installation { try await base.installation() }
    package func installationState() async throws(JournalError) -> InstallationState {
        try alive()
        return try await base.installationState()
    }
    package func changeInstallation(
        audit: [AuditEvent], alerts: [QueuedAlert], _ change: @escaping @Sendable (inout InstallationState) -> Void
    ) async throws(JournalError) {
        try await write("installation") { () throws(JournalError) in
            try await base.changeInstallation(audit: audit, alerts: alerts, change)
        }
    }
    package func lookAtAll(at date: Date) async throws(JournalError) {
        try await write("look") { () throws(JournalError) in try await base.lookAtAll(at: date) }
    }

    package func beginGeneration(at date: Date, audit: AuditEvent) async throws(JournalError) {
        try await write("generation") { () throws(JournalError) in
            try await base.beginGeneration(at: date, audit: audit)
        }
    }
    package func record(of secret: SecretName) async throws(JournalError) -> SecretRecord? {
        try alive()
        return try await base.record(of: secret)
    }
    package func records() async throws(JournalError) -> [SecretRecord] {
        try alive()
        return try await base.records()
    }
    package func claim(_ secret: SecretName, owner: String, term: LeaseTerm) async throws(JournalError) -> Lease? {
        try alive()
        return try await base.claim(secret, owner: owner, term: term)
    }
    package func renew(_ lease: Lease, term: LeaseTerm) async throws(JournalError) {
        try alive()
        try await base.renew(lease, term: term)
    }
    package func release(_ lease: Lease) async throws(JournalError) {
        try alive()
        try await base.release(lease)
    }
    package func commit(_ change: JournalChange, under lease: Lease) async throws(JournalError) {
        try await write("commit") { () throws(JournalError) in try await base.commit(change, under: lease) }
    }
    package func due(by date: Date, limit: Int) async throws(JournalError) -> [DueSecret] {
        try alive()
        return try await base.due(by: date, limit: limit)
    }
    package func request(
        _ request: SecretRecord.RotationRequest, of secret: SecretName, actor: String
    ) async throws(JournalError) {
        try alive()
        try await base.request(request, of: secret, actor: actor)
    }

    package func requestRepair(of secret: SecretName, at date: Date, actor: String) async throws(JournalError) {
        try alive()
        try await base.requestRepair(of: secret, at: date, actor: actor)
    }

    package func wishes(of secret: SecretName) async throws(JournalError) -> SecretWishes {
        try alive()
        return try await base.wishes(of: secret)
    }

    package func setPaused(
        _ paused: Bool, of secret: SecretName, at date: Date, actor: String
    ) async throws(JournalError) {
        try await base.setPaused(paused, of: secret, at: date, actor: actor)
    }
    package func audit(_ event: AuditEvent) async throws(JournalError) { try await base.audit(event) }
    package func auditEntries(
        of secret: SecretName?, after: Int64, limit: Int
    ) async throws(JournalError) -> [AuditEntry] {
        try await base.auditEntries(of: secret, after: after, limit: limit)
    }
    package func enqueue(_ alerts: [QueuedAlert]) async throws(JournalError) { try await base.enqueue(alerts) }
    package func dueAlerts(at now: Date, limit: Int) async throws(JournalError) -> [QueuedAlert] {
        try alive()
        return try await base.dueAlerts(at: now, limit: limit)
    }
    package func removeAlert(_ alert: QueuedAlert) async throws(JournalError) { try await base.removeAlert(alert) }
    package func postponeAlert(_ alert: QueuedAlert, until: Date) async throws(JournalError) {
        try await base.postponeAlert(alert, until: until)
    }
    package func orphans() async throws(JournalError) -> [OrphanRecord] { try await base.orphans() }
    package func putOrphan(_ orphan: OrphanRecord) async throws(JournalError) { try await base.putOrphan(orphan) }
    package func switches() async throws(JournalError) -> [PauseSwitch] {
        try alive()
        return try await base.switches()
    }
    package func setSwitch(_ pause: PauseSwitch) async throws(JournalError) { try await base.setSwitch(pause) }
    package func liftSwitch(
        _ scope: PauseSwitch.Scope, at date: Date, actor: String
    ) async throws(JournalError) -> PauseSwitch? {
        try await base.liftSwitch(scope, at: date, actor: actor)
    }
    package func takePlace(_ request: RotationPlaces.Request) async throws(JournalError) -> Date? {
        var opening: Date?
        try await write("takePlace") { () throws(JournalError) in opening = try await base.takePlace(request) }
        return opening
    }
    package func failuresInARow() async throws(JournalError) -> Int {
        try alive()
        return try await base.failuresInARow()
    }
}
