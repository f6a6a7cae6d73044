import Foundation
import GRDB
package import KeyturnCore

extension SQLiteJournal {
    package func audit(_ event: AuditEvent) async throws(JournalError) {
        try await write { database in try Self.append(event, database) }
    }

    /// Chains an event to the last entry, in the transaction it belongs to.
    static func append(_ event: AuditEvent, _ database: Database) throws {
        let last = try Row.fetchOne(database, sql: "SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1")
        let (sequence, overflows) = (try last?.held("sequence") as Int64? ?? 0).addingReportingOverflow(1)
        guard !overflows else { throw JournalError.damaged("the audit trail has no number left") }
        let previous = try last?.held("hash") as String? ?? AuditChain.start
        let hash = AuditChain.digest(sequence: sequence, event: event, previousHash: previous)
        try database.execute(
            sql: """
                INSERT INTO audit (sequence, at, kind, secret, version, step, actor, detail, previous_hash, hash)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """,
            arguments: [
                sequence, JournalCoding.milliseconds(event.at), event.kind, event.secret?.text, event.version,
                event.step, event.actor, try JournalCoding.encode(event.detail), previous, hash,
            ])
    }

    package func auditEntries(
        of secret: SecretName?, after: Int64, limit: Int
    ) async throws(JournalError) -> [AuditEntry] {
        try await read { database in
            let rows: [Row]
            if let secret {
                rows = try Row.fetchAll(
                    database,
                    sql: "SELECT * FROM audit WHERE secret = ? AND sequence > ? ORDER BY sequence LIMIT ?",
                    arguments: [secret.text, after, limit])
            } else {
                rows = try Row.fetchAll(
                    database, sql: "SELECT * FROM audit WHERE sequence > ? ORDER BY sequence LIMIT ?",
                    arguments: [after, limit])
            }
            return try rows.map(Self.entry)
        }
    }

    /// Reads a row whatever lies in it: `nil` for a column of another type than was written.
    static func column<Value: DatabaseValueConvertible>(_ row: Row, _ name: String) -> Value? {
        Value.fromDatabaseValue(row[name] as DatabaseValue)
    }

    static func entry(_ row: Row) throws -> AuditEntry {
        guard let sequence: Int64 = column(row, "sequence"), let at: Int64 = column(row, "at"),
            let kind: String = column(row, "kind"), let actor: String = column(row, "actor"),
            let detail: String = column(row, "detail"), let previous: String = column(row, "previous_hash"),
            let hash: String = column(row, "hash")
        else { throw JournalError.damaged("an audit entry is incomplete") }
        let event = AuditEvent(
            at: JournalCoding.date(at), kind: kind,
            secret: try (row.held("secret") as String?).map { try SecretName($0) },
            version: try row.held("version"), step: try row.held("step"), actor: actor,
            detail: try JournalCoding.decode([String: String].self, from: detail))
        return AuditEntry(sequence: sequence, event: event, previousHash: previous, hash: hash)
    }
}
