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
        let sequence = (last?["sequence"] as Int64? ?? 0) + 1
        let previous = last?["hash"] as String? ?? AuditChain.start
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

    private static func entry(_ row: Row) throws -> AuditEntry {
        guard let sequence: Int64 = row["sequence"], let at: Int64 = row["at"], let kind: String = row["kind"],
            let actor: String = row["actor"], let detail: String = row["detail"],
            let previous: String = row["previous_hash"], let hash: String = row["hash"]
        else { throw JournalError.damaged("an audit entry is incomplete") }
        let event = AuditEvent(
            at: JournalCoding.date(at), kind: kind, secret: try (row["secret"] as String?).map { try SecretName($0) },
            version: row["version"], step: row["step"], actor: actor,
            detail: try JournalCoding.decode([String: String].self, from: detail))
        return AuditEntry(sequence: sequence, event: event, previousHash: previous, hash: hash)
    }
}
