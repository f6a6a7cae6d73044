package import Foundation
import GRDB
package import KeyturnCore

extension SQLiteJournal {
    package func switches() async throws(JournalError) -> [PauseSwitch] {
        try await read { database in
            // `all` comes before `issuer:NAME`.
            try String.fetchAll(database, sql: "SELECT state FROM switches ORDER BY scope").map {
                try JournalCoding.decode(PauseSwitch.self, from: $0)
            }
        }
    }

    package func setSwitch(_ pause: PauseSwitch) async throws(JournalError) {
        try await write { database in try Self.put(pause, database) }
    }

    private static func put(_ pause: PauseSwitch, _ database: Database) throws {
        try database.execute(
            sql: "INSERT INTO switches (scope, state) VALUES (?, ?) ON CONFLICT (scope) DO NOTHING",
            arguments: [pause.scope.text, try JournalCoding.encode(pause)])
        try append(pause.auditEvent, database)
    }

    package func liftSwitch(
        _ scope: PauseSwitch.Scope, at date: Date, actor: String
    ) async throws(JournalError) -> PauseSwitch? {
        try await write { database in
            if scope == .everything { try database.execute(sql: "UPDATE rotation_tally SET failures = 0") }
            let state = try String.fetchOne(
                database, sql: "DELETE FROM switches WHERE scope = ? RETURNING state", arguments: [scope.text])
            guard let state else { return nil }
            let now = JournalCoding.milliseconds(date)
            try database.execute(
                sql: "UPDATE secrets SET next_due = ? WHERE next_due IS NULL OR next_due > ?", arguments: [now, now])
            try Self.append(PauseSwitch.lifted(scope, at: date, actor: actor), database)
            return try JournalCoding.decode(PauseSwitch.self, from: state)
        }
    }

    package func takePlace(_ request: RotationPlaces.Request) async throws(JournalError) -> Date? {
        try await write { database in
            let begin = JournalCoding.milliseconds(request.at.addingTimeInterval(-RotationPlaces.span))
            try database.execute(sql: "DELETE FROM rotation_starts WHERE at <= ?", arguments: [begin])
            let key: StatementArguments = [request.secret.text, request.version]
            let hasPlace = try Bool.fetchOne(
                database, sql: "SELECT 1 FROM rotation_starts WHERE secret = ? AND version = ?", arguments: key)
            guard hasPlace == nil else { return nil }
            if let limit = request.limit {
                let began = try Int64.fetchAll(database, sql: "SELECT at FROM rotation_starts ORDER BY at")
                let ahead = try Int.fetchOne(
                    database, sql: "SELECT COUNT(*) FROM secrets WHERE waits IS NOT NULL AND (waits, name) < (?, ?)",
                    arguments: [Self.urgency(request.expiresAt), request.secret.text])
                let opening = RotationPlaces.opening(
                    began: began.map(JournalCoding.date), ahead: ahead ?? 0, limit: limit, at: request.at)
                if let opening { return opening }
            }
            try database.execute(
                sql: "INSERT INTO rotation_starts (secret, version, at) VALUES (?, ?, ?)",
                arguments: key + [JournalCoding.milliseconds(request.at)])
            // It stands in line no more, also before its record says so.
            try database.execute(
                sql: "UPDATE secrets SET waits = NULL WHERE name = ?", arguments: [request.secret.text])
            return nil
        }
    }

    /// By what those that wait are put in order: a key that never expires is last.
    static func urgency(_ expiresAt: Date?) -> Int64 { JournalCoding.milliseconds(expiresAt ?? .distantFuture) }

    package func failuresInARow() async throws(JournalError) -> Int {
        try await read { database in
            try Int.fetchOne(database, sql: "SELECT failures FROM rotation_tally") ?? 0
        }
    }

    /// Counts how a rotation came out, and stops everything when too many have failed.
    static func count(_ tally: RotationTally, _ database: Database) throws {
        switch tally {
        case .succeeded:
            try database.execute(sql: "UPDATE rotation_tally SET failures = 0 WHERE failures <> 0")
        case .failed(let rule):
            let failures = try Int.fetchOne(
                database, sql: "UPDATE rotation_tally SET failures = failures + 1 RETURNING failures")
            let isPaused = try Bool.fetchOne(
                database, sql: "SELECT 1 FROM switches WHERE scope = ?", arguments: [rule.pause.scope.text])
            guard let failures, failures >= rule.limit, isPaused == nil else { return }
            try put(rule.pause, database)
            for alert in rule.alerts { try put(alert, database) }
        }
    }
}
