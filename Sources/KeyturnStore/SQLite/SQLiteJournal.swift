import Foundation
import GRDB
package import KeyturnCore

/// The journal in one SQLite file: write-ahead log, `synchronous=FULL`, one transaction for each change.
///
/// Several processes may read it while one writes. See https://www.sqlite.org/wal.html.
package final class SQLiteJournal: Journal {
    package enum Access: Sendable {
        case readWrite
        /// Opens only what is there, and changes nothing.
        case readOnly
    }

    let pool: DatabasePool
    private let path: String

    /// - Parameter path: of the database file. It and its folder are made when missing, for their owner alone.
    /// - Throws: `newerSchema`, `incomplete`, `damaged`, `permission`, `locked`, `full`, `failed`.
    package init(path: String, access: Access = .readWrite) throws(JournalError) {
        self.path = path
        do {
            if access == .readWrite { try PrivateDatabaseFile.prepare(path) }
            pool = try DatabasePool(path: path, configuration: Self.configuration(access))
            let migrator = JournalMigrations.migrator
            try pool.read { database in
                let applied = try migrator.appliedIdentifiers(database)
                if let unknown = applied.subtracting(migrator.migrations).sorted().last {
                    throw JournalError.newerSchema(found: "it has '\(unknown)'")
                }
                if access == .readOnly, try !migrator.hasCompletedMigrations(database) {
                    throw JournalError.incomplete(path)
                }
            }
            if access == .readWrite {
                // Not when the connection is prepared: the pool turns to NORMAL after that, with which a power cut may
                // take the last commits away.
                try pool.writeWithoutTransaction { try $0.execute(sql: "PRAGMA synchronous = FULL") }
                try migrator.migrate(pool)
            }
        } catch { throw JournalError(wrapping: error, at: path) }
    }

    /// Whether there is a database. One that may not be looked for is not taken for absent.
    ///
    /// - Throws: `permission`, `failed`.
    package static func exists(at path: String) throws(JournalError) -> Bool {
        do { return try PrivateDatabaseFile.exists(path) } catch { throw JournalError(wrapping: error, at: path) }
    }

    private static func configuration(_ access: Access) -> Configuration {
        var configuration = Configuration()
        configuration.readonly = access == .readOnly
        configuration.busyMode = .timeout(10)
        configuration.foreignKeysEnabled = true
        // Values are sealed, and even so no argument of a statement reaches an error text.
        configuration.publicStatementArguments = false
        return configuration
    }

    func read<Value: Sendable>(
        _ body: @escaping @Sendable (Database) throws -> Value
    ) async throws(JournalError) -> Value {
        do { return try await shielded { try self.pool.read(body) } } catch {
            throw JournalError(wrapping: error, at: path)
        }
    }

    /// A commit whose sync failed counts for nothing here, and the next one writes its pages anew over it, so that it is
    /// never taken for durable. Until then a restart may find it in the log all the same:
    /// see ``JournalError/mayHaveTakenEffect``.
    func write<Value: Sendable>(
        _ body: @escaping @Sendable (Database) throws -> Value
    ) async throws(JournalError) -> Value {
        do { return try await shielded { try self.pool.write(body) } } catch {
            throw JournalError(wrapping: error, at: path)
        }
    }

    /// Runs a transaction to its end on a thread of its own, also when the calling task is cancelled: what a step did
    /// must be recorded.
    private func shielded<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
        try await withCheckedThrowingContinuation { continuation in
            Self.queue.async { continuation.resume(with: Result(catching: body)) }
        }
    }

    private static let queue = DispatchQueue(label: "keyturn.journal", attributes: .concurrent)
}
