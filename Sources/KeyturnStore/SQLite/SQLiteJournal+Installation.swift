package import Foundation
import GRDB
package import KeyturnCore

extension SQLiteJournal {
    package func installation() async throws(JournalError) -> Installation {
        try await read { database in
            guard let row = try Row.fetchOne(database, sql: "SELECT instance, generation FROM installation"),
                let instance: String = try row.held("instance"), let generation: Int = try row.held("generation")
            else { throw JournalError.damaged("it does not name its installation") }
            return Installation(instance: instance, generation: generation)
        }
    }

    package func installationState() async throws(JournalError) -> InstallationState {
        try await read { database in try Self.installationState(database) }
    }

    package func changeInstallation(
        audit: [AuditEvent], alerts: [QueuedAlert], _ change: @escaping @Sendable (inout InstallationState) -> Void
    ) async throws(JournalError) {
        try await write { database in
            var state = try Self.installationState(database)
            change(&state)
            try database.execute(
                sql: "UPDATE installation SET state = ?", arguments: [try JournalCoding.encode(state)])
            for event in audit { try Self.append(event, database) }
            for alert in alerts { try Self.put(alert, database) }
        }
    }

    package func beginGeneration(at date: Date, audit: AuditEvent) async throws(JournalError) {
        try await write { database in
            var state = try Self.installationState(database)
            state.restored = nil
            try database.execute(
                sql: "UPDATE installation SET generation = generation + 1, state = ?",
                arguments: [try JournalCoding.encode(state)])
            try Self.lookAtAll(at: date, database)
            try Self.append(audit, database)
        }
    }

    package func lookAtAll(at date: Date) async throws(JournalError) {
        try await write { database in try Self.lookAtAll(at: date, database) }
    }

    private static func lookAtAll(at date: Date, _ database: Database) throws {
        let due = JournalCoding.milliseconds(date)
        try database.execute(
            sql: "UPDATE secrets SET next_due = ?1 WHERE next_due IS NULL OR next_due > ?1", arguments: [due])
        try database.execute(
            sql: "UPDATE alerts SET next_attempt = ?1 WHERE next_attempt > ?1", arguments: [due])
    }

    private static func installationState(_ database: Database) throws -> InstallationState {
        guard let text = try String.fetchOne(database, sql: "SELECT state FROM installation") else {
            throw JournalError.damaged("it does not name its installation")
        }
        return try JournalCoding.decode(InstallationState.self, from: text)
    }
}
