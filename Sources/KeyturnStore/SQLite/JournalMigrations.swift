import Foundation
import GRDB

/// The schema, as migrations in order. One that was released is never edited.
enum JournalMigrations {
    static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("1 journal", migrate: first)
        migrator.registerMigration("2 installation state", migrate: installationState)
        migrator.registerMigration("3 audit checkpoints", migrate: checkpoints)
        migrator.registerMigration("4 record digests", migrate: recordDigests)
        migrator.registerMigration("5 wish for a repair") { database in
            try database.execute(sql: "ALTER TABLE secrets ADD COLUMN repair_since INTEGER")
        }
        migrator.registerMigration("6 emergencies", migrate: emergencies)
        migrator.registerMigration("7 terms of leases", migrate: leaseTerms)
        return migrator
    }

    @Sendable private static func installationState(_ database: Database) throws {
        try database.execute(sql: "ALTER TABLE installation ADD COLUMN state TEXT NOT NULL DEFAULT '{}'")
    }

    /// Leases were timed by the wall clock. Whoever holds one loses it.
    @Sendable private static func leaseTerms(_ database: Database) throws {
        try database.execute(
            sql: """
                UPDATE secrets SET lease_owner = NULL, lease_token = lease_token + 1 WHERE lease_owner IS NOT NULL;
                ALTER TABLE secrets DROP COLUMN lease_until;
                ALTER TABLE secrets ADD COLUMN lease_term TEXT;
                """)
    }

    @Sendable private static func first(_ database: Database) throws {
        try database.execute(
            sql: """
                CREATE TABLE installation (
                    only INTEGER PRIMARY KEY CHECK (only = 1),
                    instance TEXT NOT NULL,
                    generation INTEGER NOT NULL
                );
                CREATE TABLE secrets (
                    name TEXT PRIMARY KEY,
                    state TEXT NOT NULL,
                    paused_since INTEGER,
                    request TEXT,
                    next_due INTEGER,
                    lease_owner TEXT,
                    lease_until INTEGER NOT NULL DEFAULT 0,
                    lease_token INTEGER NOT NULL DEFAULT 0
                ) WITHOUT ROWID;
                CREATE INDEX secrets_by_due ON secrets (next_due, name) WHERE next_due IS NOT NULL;
                CREATE TABLE versions (
                    secret TEXT NOT NULL REFERENCES secrets (name),
                    number INTEGER NOT NULL,
                    stage TEXT NOT NULL,
                    state TEXT NOT NULL,
                    sealed BLOB,
                    PRIMARY KEY (secret, number)
                ) WITHOUT ROWID;
                CREATE TABLE audit (
                    sequence INTEGER PRIMARY KEY,
                    at INTEGER NOT NULL,
                    kind TEXT NOT NULL,
                    secret TEXT,
                    version INTEGER,
                    step TEXT,
                    actor TEXT NOT NULL,
                    detail TEXT NOT NULL,
                    previous_hash TEXT NOT NULL,
                    hash TEXT NOT NULL
                );
                CREATE INDEX audit_by_secret ON audit (secret, sequence);
                CREATE TRIGGER audit_is_append_only_update BEFORE UPDATE ON audit
                    BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
                CREATE TRIGGER audit_is_append_only_delete BEFORE DELETE ON audit
                    BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
                CREATE TABLE alerts (
                    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
                    event TEXT NOT NULL,
                    sink TEXT NOT NULL,
                    alert TEXT NOT NULL,
                    attempts INTEGER NOT NULL,
                    next_attempt INTEGER NOT NULL,
                    UNIQUE (event, sink)
                );
                CREATE INDEX alerts_by_due ON alerts (next_attempt, sequence);
                CREATE TABLE orphans (
                    id TEXT PRIMARY KEY,
                    state TEXT NOT NULL,
                    orphan TEXT NOT NULL
                ) WITHOUT ROWID;
                """)
        try database.execute(
            sql: "INSERT INTO installation (only, instance, generation) VALUES (1, ?, 1)",
            arguments: [UUID().uuidString.lowercased()])
    }

    @Sendable private static func checkpoints(_ database: Database) throws {
        try database.execute(
            sql: """
                CREATE TABLE audit_checkpoints (
                    sequence INTEGER NOT NULL,
                    key TEXT NOT NULL,
                    head TEXT NOT NULL,
                    entries INTEGER NOT NULL,
                    at INTEGER NOT NULL,
                    instance TEXT NOT NULL,
                    signature BLOB NOT NULL,
                    PRIMARY KEY (sequence, key)
                ) WITHOUT ROWID;
                CREATE TRIGGER audit_checkpoints_are_append_only_update BEFORE UPDATE ON audit_checkpoints
                    BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
                CREATE TRIGGER audit_checkpoints_are_append_only_delete BEFORE DELETE ON audit_checkpoints
                    BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;
                """)
    }

    @Sendable private static func recordDigests(_ database: Database) throws {
        try database.execute(sql: "ALTER TABLE secrets ADD COLUMN digest TEXT NOT NULL DEFAULT ''")
        for name in try String.fetchAll(database, sql: "SELECT name FROM secrets") {
            try RecordDigest.write(of: name, database)
        }
    }

    @Sendable private static func emergencies(_ database: Database) throws {
        try database.execute(
            sql: """
                CREATE TABLE switches (
                    scope TEXT PRIMARY KEY,
                    state TEXT NOT NULL
                ) WITHOUT ROWID;
                CREATE TABLE rotation_starts (
                    secret TEXT NOT NULL,
                    version INTEGER NOT NULL,
                    at INTEGER NOT NULL,
                    PRIMARY KEY (secret, version)
                ) WITHOUT ROWID;
                CREATE INDEX rotation_starts_by_time ON rotation_starts (at);
                CREATE TABLE rotation_tally (
                    only INTEGER PRIMARY KEY CHECK (only = 1),
                    failures INTEGER NOT NULL
                );
                INSERT INTO rotation_tally (only, failures) VALUES (1, 0);
                ALTER TABLE secrets ADD COLUMN waits INTEGER;
                CREATE INDEX secrets_by_waiting ON secrets (waits, name) WHERE waits IS NOT NULL;
                """)
    }
}
