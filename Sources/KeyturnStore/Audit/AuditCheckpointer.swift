package import Foundation
package import KeyturnCore
import KeyturnSystem

/// Signs what the audit trail holds, from time to time.
///
/// It signs only what follows from its last signature: the entries since then are held against the hash chain first, so
/// that a trail that was changed in between gets no signature.
package actor AuditCheckpointer {
    /// A checkpoint is due once so many entries are not covered.
    package static let mostUncovered: Int64 = 100
    /// Or once one entry has not been covered for so long, in seconds.
    package static let longestUncovered = 300.0

    package enum Outcome: Sendable, Equatable {
        case nothingNew
        case signed(AuditCheckpoint)
        /// Signed, and the file could not be written.
        case notFiled(AuditCheckpoint, String)
        /// The trail does not follow from what was signed before: nothing is signed.
        case refused(String)
    }

    private let journal: any CheckpointJournal
    private let key: AuditSigningKey
    private let file: CheckpointFile?
    private let instance: String
    private let startedAt: Date
    /// The newest checkpoint that is known, here or in the file.
    private var last: AuditCheckpoint?
    /// Whether the database and the file were asked for theirs.
    private var isReady = false

    package init(
        journal: any CheckpointJournal, key: AuditSigningKey, file: CheckpointFile?, instance: String, now: Date
    ) {
        self.journal = journal
        self.key = key
        self.file = file
        self.instance = instance
        startedAt = now
    }

    /// Signs when enough has come together.
    package func checkpointIfDue(at now: Date) async throws(JournalError) -> Outcome {
        let uncovered = try await journal.newestAuditSequence() - (last?.sequence ?? 0)
        guard uncovered > 0 else { return .nothingNew }
        let waited = now.timeIntervalSince(last?.at ?? startedAt)
        // A clock that was put back makes nothing wait.
        guard uncovered >= Self.mostUncovered || waited >= Self.longestUncovered || waited < 0 else {
            return .nothingNew
        }
        return try await checkpoint(at: now)
    }

    /// Signs what is there, unless it is signed already.
    package func checkpoint(at now: Date) async throws(JournalError) -> Outcome {
        if !isReady {
            last = try await newest()
            isReady = true
        }
        var checker = AuditChain.Checker()
        if let last {
            let hash = try await journal.auditHashes(of: [last.sequence])[last.sequence]
            guard hash == last.head else {
                let found = hash == nil ? "is missing" : "was rewritten"
                return .refused("entry \(last.sequence) of the audit trail \(found); it was signed before")
            }
            checker = AuditChain.Checker(after: last.sequence, hash: last.head)
        }
        while checker.broken == nil {
            let page = try await journal.auditTrail(after: checker.last, limit: 1000)
            guard !page.isEmpty else { break }
            for entry in page { checker.add(entry) }
        }
        if let broken = checker.broken { return .refused(broken.problem) }
        guard checker.last > 0, checker.last != last?.sequence || key.publicKey != last?.key else { return .nothingNew }
        guard
            let checkpoint = AuditCheckpoint(
                sequence: checker.last, head: checker.head, at: now, instance: instance, signedBy: key)
        else { return .refused("the key of the audit trail can't sign") }
        try await journal.add(checkpoint)
        last = checkpoint
        if let file {
            do throws(SystemError) { try file.append(checkpoint) } catch {
                return .notFiled(checkpoint, error.message)
            }
        }
        return .signed(checkpoint)
    }

    /// The one that covers most, of those that are no forgery.
    private func newest() async throws(JournalError) -> AuditCheckpoint? {
        var found = try await journal.newestCheckpoint()?.checkpoint.map { [$0] } ?? []
        // What can't be read now will be found when it is written.
        if let filed = try? file?.newest() { found.append(filed) }
        return found.filter { $0.isAuthentic && $0.instance == instance }.max { $0.sequence < $1.sequence }
    }
}
