package import Foundation

/// A signed statement that the audit trail held so many entries and ended in this hash.
///
/// Whoever can write to the database can compute a new hash chain over changed entries, or cut the newest ones off. He
/// can't sign for it.
package struct AuditCheckpoint: Sendable, Equatable {
    /// The number of the newest entry that it covers.
    package let sequence: Int64
    /// The hash of that entry.
    package let head: String
    /// How many entries there were.
    package let entries: Int64
    /// UTC; kept to the millisecond.
    package let at: Date
    /// ``Installation/instance``.
    package let instance: String
    package let key: AuditPublicKey
    /// 64 bytes, Ed25519 over ``statement``.
    package let signature: Data

    package init(
        sequence: Int64, head: String, entries: Int64, at: Date, instance: String, key: AuditPublicKey, signature: Data
    ) {
        self.sequence = sequence
        self.head = head
        self.entries = entries
        self.at = at
        self.instance = instance
        self.key = key
        self.signature = signature
    }

    /// Signs; `nil` when the library can't.
    package init?(
        sequence: Int64, head: String, at: Date, instance: String, signedBy key: AuditSigningKey
    ) {
        let statement = Self.statement(
            sequence: sequence, head: head, entries: sequence, at: at, instance: instance)
        guard let signature = key.signature(of: statement) else { return nil }
        self.init(
            sequence: sequence, head: head, entries: sequence, at: at, instance: instance, key: key.publicKey,
            signature: signature)
    }

    /// Whether the signature is that of the key it names.
    package var isAuthentic: Bool { key.verifies(signature, of: statement) }

    private var statement: Data {
        Self.statement(sequence: sequence, head: head, entries: entries, at: at, instance: instance)
    }

    /// What is signed: lines of text, the first of which is in no other use of such a key.
    private static func statement(
        sequence: Int64, head: String, entries: Int64, at: Date, instance: String
    ) -> Data {
        let lines = ["keyturn audit checkpoint 1", instance, AuditTime.text(at), "\(sequence)", "\(entries)", head]
        return Data((lines.joined(separator: "\n") + "\n").utf8)
    }
}

/// Keeps checkpoints beside the audit trail. Beside ``Journal``, since only the process that signs needs it.
package protocol CheckpointJournal: Journal {
    /// Adds a checkpoint; one over the same entry by the same key is kept as it is.
    func add(_ checkpoint: AuditCheckpoint) async throws(JournalError)
    /// Checkpoints in order of the entries that they cover.
    func checkpoints(after place: CheckpointPlace?, limit: Int) async throws(JournalError) -> [KeptCheckpoint]
    /// The one that covers most entries.
    func newestCheckpoint() async throws(JournalError) -> KeptCheckpoint?
    /// The hashes of those entries that are there.
    func auditHashes(of sequences: [Int64]) async throws(JournalError) -> [Int64: String]
    /// The newest entry's number; 0 when there is none.
    func newestAuditSequence() async throws(JournalError) -> Int64
    /// Entries as they lie there, however damaged, in order.
    func auditTrail(after: Int64, limit: Int) async throws(JournalError) -> [KeptEntry]
}

/// Where a checkpoint stands among the others.
package struct CheckpointPlace: Sendable, Hashable {
    package let sequence: Int64
    package let key: String

    package init(sequence: Int64, key: String) {
        self.sequence = sequence
        self.key = key
    }
}

/// A checkpoint as it is found.
package struct KeptCheckpoint: Sendable, Equatable {
    package let place: CheckpointPlace
    /// `nil` when what lies there is none.
    package let checkpoint: AuditCheckpoint?

    package init(place: CheckpointPlace, checkpoint: AuditCheckpoint?) {
        self.place = place
        self.checkpoint = checkpoint
    }
}

/// An entry as it is found.
package enum KeptEntry: Sendable, Equatable {
    case entry(AuditEntry)
    /// What lies there is none any more.
    case damaged(sequence: Int64)

    package var sequence: Int64 {
        switch self {
        case .entry(let entry): entry.sequence
        case .damaged(let sequence): sequence
        }
    }
}
