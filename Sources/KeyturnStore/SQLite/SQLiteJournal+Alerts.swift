package import Foundation
import GRDB
package import KeyturnCore

extension SQLiteJournal {
    package func enqueue(_ alerts: [QueuedAlert]) async throws(JournalError) {
        try await write { database in for alert in alerts { try Self.put(alert, database) } }
    }

    static func put(_ alert: QueuedAlert, _ database: Database) throws {
        try database.execute(
            sql: """
                INSERT INTO alerts (event, sink, alert, attempts, next_attempt) VALUES (?, ?, ?, ?, ?)
                ON CONFLICT (event, sink) DO NOTHING
                """,
            arguments: [
                alert.event.id, alert.sink, try JournalCoding.encode(alert.event), alert.attempts,
                JournalCoding.milliseconds(alert.nextAttempt),
            ])
    }

    package func dueAlerts(at now: Date, limit: Int) async throws(JournalError) -> [QueuedAlert] {
        try await read { database in
            let rows = try Row.fetchAll(
                database,
                sql: """
                    SELECT sink, alert, attempts, next_attempt FROM alerts WHERE next_attempt <= ?
                    ORDER BY sequence LIMIT ?
                    """,
                arguments: [JournalCoding.milliseconds(now), limit])
            return try rows.map { row in
                guard let sink: String = try row.held("sink"), let alert: String = try row.held("alert"),
                    let attempts: Int = try row.held("attempts"), let next: Int64 = try row.held("next_attempt")
                else { throw JournalError.damaged("a queued alert is incomplete") }
                return QueuedAlert(
                    event: try JournalCoding.decode(AlertEvent.self, from: alert), sink: sink, attempts: attempts,
                    nextAttempt: JournalCoding.date(next))
            }
        }
    }

    package func removeAlert(_ alert: QueuedAlert) async throws(JournalError) {
        try await write { database in
            try database.execute(
                sql: "DELETE FROM alerts WHERE event = ? AND sink = ?", arguments: [alert.event.id, alert.sink])
        }
    }

    package func postponeAlert(_ alert: QueuedAlert, until: Date) async throws(JournalError) {
        try await write { database in
            try database.execute(
                sql: "UPDATE alerts SET attempts = attempts + 1, next_attempt = ? WHERE event = ? AND sink = ?",
                arguments: [JournalCoding.milliseconds(until), alert.event.id, alert.sink])
        }
    }

    package func orphans() async throws(JournalError) -> [OrphanRecord] {
        try await read { database in
            try String.fetchAll(database, sql: "SELECT orphan FROM orphans ORDER BY id").map {
                try JournalCoding.decode(OrphanRecord.self, from: $0)
            }
        }
    }

    package func putOrphan(_ orphan: OrphanRecord) async throws(JournalError) {
        try await write { database in try Self.put(orphan, database) }
    }

    static func put(_ orphan: OrphanRecord, _ database: Database) throws {
        try database.execute(
            sql: "INSERT OR REPLACE INTO orphans (id, state, orphan) VALUES (?, ?, ?)",
            arguments: [orphan.id, orphan.state.rawValue, try JournalCoding.encode(orphan)])
    }
}
