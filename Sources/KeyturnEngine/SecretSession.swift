import Foundation
import KeyturnCore
import Logging

/// The work on one secret under a lease: its record, and the only way to change it.
///
/// A session belongs to one task. Steps that run side by side hand their outcomes back to that task, which commits them
/// one by one.
struct SecretSession {
    private(set) var record: SecretRecord
    /// Pauses that hold for more than one secret, as of the last look.
    private(set) var switches: [PauseSwitch] = []
    private let lease: Lease
    private let core: EngineCore
    private var term: LeaseTerm
    private var nextDue: Date?

    init(record: SecretRecord, lease: Lease, core: EngineCore, term: LeaseTerm) {
        self.record = record
        self.lease = lease
        self.core = core
        self.term = term
        // Until the work is done: a crash finds the secret due at once.
        nextDue = core.time.now()
    }

    /// Changes the record durably. What `change` adds to the outbox is written in the same transaction.
    ///
    /// - Throws: ``JournalError``; the record is as before then.
    mutating func commit(_ change: (inout SecretRecord, inout Outbox) -> Void) async throws(JournalError) {
        var next = record
        var outbox = Outbox()
        change(&next, &outbox)
        try await renewWhenOld()
        let written = JournalChange(
            record: next, nextDue: nextDue, audit: outbox.audit, alerts: outbox.alerts, orphans: outbox.orphans,
            fulfilled: outbox.fulfilled, rotates: outbox.rotates, repaired: outbox.repaired, tally: outbox.tally)
        try await core.journal.commit(written, under: lease)
        record = next
        if let request = record.request, written.fulfills(request) { record.request = nil }
        if outbox.repaired != nil { record.repairSince = nil }
        for line in outbox.log { core.logger.log(level: line.level, line.message, metadata: line.metadata) }
    }

    /// Learns what people have asked of the secret meanwhile.
    mutating func refreshWishes() async throws(JournalError) {
        record.wishes = try await core.journal.wishes(of: record.name)
        switches = try await core.journal.switches()
    }

    /// Whether somebody paused the secret, everything, or one of these issuers.
    func isPaused(through issuers: Set<String>) -> Bool {
        record.pausedSince != nil || switches.stopping(issuers) != nil
    }

    /// Sets when the secret is looked at next; written with the last commit of the work.
    mutating func finish(
        nextDue: Date?, _ change: (inout SecretRecord, inout Outbox) -> Void
    ) async throws(JournalError) {
        self.nextDue = nextDue
        try await commit(change)
    }

    func release() async {
        do { try await core.journal.release(lease) } catch {
            core.logger.debug("lease not released", metadata: ["secret": "\(lease.secret)", "error": "\(error)"])
        }
    }

    private mutating func renewWhenOld() async throws(JournalError) {
        let next = core.leaseTerm()
        guard term.remaining(at: next.from) < term.seconds / 2 else { return }
        try await core.journal.renew(lease, term: next)
        term = next
    }
}

/// What is written together with a change of a record.
struct Outbox {
    var audit: [AuditEvent] = []
    var alerts: [QueuedAlert] = []
    var orphans: [OrphanRecord] = []
    var fulfilled: SecretRecord.RotationRequest?
    /// A rotation ends: see ``JournalChange/rotates``.
    var rotates = false
    var repaired: Date?
    /// What is said once all that is durable, and not before.
    var log: [LogLine] = []

    struct LogLine {
        let level: Logger.Level
        let message: Logger.Message
        let metadata: Logger.Metadata
    }
    var tally: RotationTally?
}
