import Foundation
import GRDB
package import KeyturnCore

extension SQLiteJournal: CheckpointJournal {
    package func add(_ checkpoint: AuditCheckpoint) async throws(JournalError) {
        try await write { database in
            try database.execute(
                sql: """
                    INSERT INTO audit_checkpoints (sequence, key, head, entries, at, instance, signature)
                    VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (sequence, key) DO NOTHING
                    """,
                arguments: [
                    checkpoint.sequence, "\(checkpoint.key)", checkpoint.head, checkpoint.entries,
                    JournalCoding.milliseconds(checkpoint.at), checkpoint.instance, checkpoint.signature,
                ])
        }
    }

    package func checkpoints(
        after place: CheckpointPlace?, limit: Int
    ) async throws(JournalError) -> [KeptCheckpoint] {
        try await read { database in
            let rows = try Row.fetchAll(
                database,
                sql: """
                    SELECT * FROM audit_checkpoints WHERE (sequence, key) > (?, ?) ORDER BY sequence, key LIMIT ?
                    """, arguments: [place?.sequence ?? .min, place?.key ?? "", limit])
            return rows.map(Self.checkpoint)
        }
    }

    package func newestCheckpoint() async throws(JournalError) -> KeptCheckpoint? {
        try await read { database in
            try Row.fetchOne(
                database, sql: "SELECT * FROM audit_checkpoints ORDER BY sequence DESC, at DESC LIMIT 1"
            ).map(Self.checkpoint)
        }
    }

    package func auditHashes(of sequences: [Int64]) async throws(JournalError) -> [Int64: String] {
        try await read { database in
            var hashes: [Int64: String] = [:]
            let statement = try database.makeStatement(sql: "SELECT hash FROM audit WHERE sequence = ?")
            for sequence in sequences {
                let row = try Row.fetchOne(statement, arguments: [sequence])
                hashes[sequence] = row.map { Self.column($0, "hash") ?? "" }
            }
            return hashes
        }
    }

    package func newestAuditSequence() async throws(JournalError) -> Int64 {
        try await read { database in try Int64.fetchOne(database, sql: "SELECT MAX(sequence) FROM audit") ?? 0 }
    }

    package func auditTrail(after: Int64, limit: Int) async throws(JournalError) -> [KeptEntry] {
        try await read { database in
            let rows = try Row.fetchAll(
                database, sql: "SELECT * FROM audit WHERE sequence > ? ORDER BY sequence LIMIT ?",
                arguments: [after, limit])
            return rows.map { row in
                (try? Self.entry(row)).map(KeptEntry.entry) ?? .damaged(sequence: Self.column(row, "sequence") ?? 0)
            }
        }
    }

    private static func checkpoint(_ row: Row) -> KeptCheckpoint {
        let place = CheckpointPlace(sequence: column(row, "sequence") ?? 0, key: column(row, "key") ?? "")
        guard let key = AuditPublicKey(place.key), let head: String = column(row, "head"),
            let entries: Int64 = column(row, "entries"), let at: Int64 = column(row, "at"),
            let instance: String = column(row, "instance"), let signature: Data = column(row, "signature")
        else { return KeptCheckpoint(place: place, checkpoint: nil) }
        return KeptCheckpoint(
            place: place,
            checkpoint: AuditCheckpoint(
                sequence: place.sequence, head: head, entries: entries, at: JournalCoding.date(at), instance: instance,
                key: key, signature: signature))
    }
}
