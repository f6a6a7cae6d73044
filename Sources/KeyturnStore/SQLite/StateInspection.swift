import Foundation
import GRDB
package import KeyturnCore

/// The state as SQLite itself sees it, whatever shape it is in. Nothing is written.
package struct StateInspection: Sendable {
    /// What is wrong with the database file.
    package let damages: [String]
    /// A migration that it has and this program does not know.
    package let unknown: String?
    /// A migration that it lacks.
    package let missing: String?
    /// The size of the write-ahead log, in bytes.
    package let logSize: Int64

    /// - Throws: ``JournalError`` when it can't even be opened.
    package init(path: String) throws(JournalError) {
        do {
            var configuration = Configuration()
            configuration.readonly = true
            configuration.busyMode = .timeout(10)
            configuration.publicStatementArguments = false
            let queue = try DatabaseQueue(path: path, configuration: configuration)
            let migrator = JournalMigrations.migrator
            (damages, unknown, missing) = try queue.read { database in
                var damages = try String.fetchAll(database, sql: "PRAGMA quick_check(5)").filter { $0 != "ok" }
                let dangling = try Row.fetchAll(database, sql: "PRAGMA foreign_key_check").count
                if dangling > 0 { damages.append("\(dangling) versions belong to no secret") }
                let applied = try migrator.appliedIdentifiers(database)
                return (
                    damages, applied.subtracting(migrator.migrations).sorted().last,
                    migrator.migrations.last { !applied.contains($0) }
                )
            }
        } catch { throw JournalError(wrapping: error, at: path) }
        let attributes = try? FileManager.default.attributesOfItem(atPath: path + "-wal")
        logSize = (attributes?[.size] as? NSNumber)?.int64Value ?? 0
    }
}
