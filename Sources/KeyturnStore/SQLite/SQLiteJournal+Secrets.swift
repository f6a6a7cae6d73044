package import Foundation
import GRDB
package import KeyturnCore

extension SQLiteJournal {
    package func record(of secret: SecretName) async throws(JournalError) -> SecretRecord? {
        try await read { database in
            guard
                let row = try Row.fetchOne(
                    database,
                    sql: "SELECT name, state, digest, paused_since, request, repair_since FROM secrets WHERE name = ?",
                    arguments: [secret.text])
            else { return nil }
            let versions = try Row.fetchAll(
                database, sql: "SELECT state, sealed FROM versions WHERE secret = ? ORDER BY number",
                arguments: [secret.text])
            return try Self.record(row, versions: versions)
        }
    }

    package func records() async throws(JournalError) -> [SecretRecord] {
        try await read { database in
            let all = try Row.fetchAll(
                database, sql: "SELECT secret, state, sealed FROM versions ORDER BY secret, number")
            let versions = try Dictionary(grouping: all) { try $0.held("secret") as String? ?? "" }
            let rows = try Row.fetchAll(
                database,
                sql: "SELECT name, state, digest, paused_since, request, repair_since FROM secrets ORDER BY name")
            return try rows.map { row in
                try Self.record(row, versions: versions[row.held("name") ?? ""] ?? [])
            }
        }
    }

    private static func record(_ row: Row, versions: [Row]) throws -> SecretRecord {
        guard let state: String = try row.held("state") else { throw JournalError.damaged("a secret has no state") }
        try RecordDigest.check(row, versions: versions)
        var record = try JournalCoding.decode(SecretRecord.self, from: state)
        record.wishes = try wishes(row)
        record.versions = try versions.map { row in
            guard let state: String = try row.held("state") else {
                throw JournalError.damaged("a version has no state")
            }
            var version = try JournalCoding.decode(VersionRecord.self, from: state)
            version.sealed = try row.held("sealed")
            return version
        }
        return record
    }

    package func claim(_ secret: SecretName, owner: String, term: LeaseTerm) async throws(JournalError) -> Lease? {
        try await write { database in
            try Self.makeKnown(secret, database)
            let other = try Row.fetchOne(
                database,
                sql: "SELECT lease_term FROM secrets WHERE name = ? AND lease_owner IS NOT NULL AND lease_owner <> ?",
                arguments: [secret.text, owner])
            if let other, let held = try Self.term(other), !held.isOver(at: term.from) { return nil }
            let token = try Int64.fetchOne(
                database,
                sql: """
                    UPDATE secrets SET lease_owner = ?, lease_term = ?, lease_token = lease_token + 1 WHERE name = ?
                    RETURNING lease_token
                    """,
                arguments: [owner, try JournalCoding.encode(term), secret.text])
            return token.map { Lease(secret: secret, owner: owner, token: $0) }
        }
    }

    package func renew(_ lease: Lease, term: LeaseTerm) async throws(JournalError) {
        try await write { database in
            try Self.check(lease, database)
            try database.execute(
                sql: "UPDATE secrets SET lease_term = ? WHERE name = ?",
                arguments: [try JournalCoding.encode(term), lease.secret.text])
        }
    }

    package func release(_ lease: Lease) async throws(JournalError) {
        try await write { database in
            try database.execute(
                sql: "UPDATE secrets SET lease_owner = NULL WHERE name = ? AND lease_token = ?",
                arguments: [lease.secret.text, lease.token])
        }
    }

    /// Takes every claim from its holder, for whom the next commit fails then.
    ///
    /// To be called by the one who just took the ``InstanceLock``: whoever held it before is dead, and what he had begun
    /// is not to wait until his claims run out.
    package func releaseAll() async throws(JournalError) {
        try await write { database in
            try database.execute(
                sql: """
                    UPDATE secrets SET lease_owner = NULL, lease_token = lease_token + 1 WHERE lease_owner IS NOT NULL
                    """)
        }
    }

    package func commit(_ change: JournalChange, under lease: Lease) async throws(JournalError) {
        try await write { database in
            try Self.check(lease, database)
            var state = change.record
            state.versions = []
            state.wishes = SecretWishes()
            try database.execute(
                sql: "UPDATE secrets SET state = ?, next_due = ?, waits = ? WHERE name = ?",
                arguments: [
                    try JournalCoding.encode(state), change.nextDue.map(JournalCoding.milliseconds),
                    change.record.waiting.map { Self.urgency($0.expiresAt) }, lease.secret.text,
                ])
            if change.fulfilled != nil || change.rotates,
                let request = try Self.wishes(of: lease.secret, database).request,
                change.fulfills(request)
            {
                try database.execute(
                    sql: "UPDATE secrets SET request = NULL WHERE name = ?", arguments: [lease.secret.text])
            }
            if let repaired = change.repaired {
                try database.execute(
                    sql: "UPDATE secrets SET repair_since = NULL WHERE name = ? AND repair_since = ?",
                    arguments: [lease.secret.text, JournalCoding.milliseconds(repaired)])
            }
            for version in change.record.versions { try Self.put(version, of: lease.secret, database) }
            try RecordDigest.write(of: lease.secret.text, database)
            for event in change.audit { try Self.append(event, database) }
            for alert in change.alerts { try Self.put(alert, database) }
            for orphan in change.orphans { try Self.put(orphan, database) }
            if let tally = change.tally { try Self.count(tally, database) }
        }
    }

    private static func check(_ lease: Lease, _ database: Database) throws {
        let holds = try Bool.fetchOne(
            database, sql: "SELECT lease_token = ? AND lease_owner = ? FROM secrets WHERE name = ?",
            arguments: [lease.token, lease.owner, lease.secret.text])
        guard holds == true else { throw JournalError.leaseLost(lease.secret) }
    }

    /// Writes a version only when something of it changed.
    private static func put(_ version: VersionRecord, of secret: SecretName, _ database: Database) throws {
        var state = version
        state.sealed = nil
        try database.execute(
            sql: """
                INSERT INTO versions (secret, number, stage, state, sealed) VALUES (:secret, :number, :stage, :state, :sealed)
                ON CONFLICT (secret, number) DO UPDATE
                SET stage = excluded.stage, state = excluded.state, sealed = excluded.sealed
                WHERE state IS NOT excluded.state OR sealed IS NOT excluded.sealed
                """,
            arguments: [
                "secret": secret.text, "number": version.number, "stage": version.stage.rawValue,
                "state": try JournalCoding.encode(state), "sealed": version.sealed,
            ])
    }

    package func due(by date: Date, limit: Int) async throws(JournalError) -> [DueSecret] {
        try await read { database in
            let rows = try Row.fetchAll(
                database, sql: Self.dueQuery, arguments: [JournalCoding.milliseconds(date), limit])
            return try rows.compactMap { row in
                guard let name: String = try row.held("name"), let due: Int64 = try row.held("next_due") else {
                    return nil
                }
                return DueSecret(secret: try SecretName(name), at: JournalCoding.date(due))
            }
        }
    }

    static let dueQuery = "SELECT name, next_due FROM secrets WHERE next_due <= ? ORDER BY next_due, name LIMIT ?"

    package func setPaused(
        _ paused: Bool, of secret: SecretName, at date: Date, actor: String
    ) async throws(JournalError) {
        try await write { database in
            try Self.makeKnown(secret, database)
            let now = JournalCoding.milliseconds(date)
            let change = paused ? "COALESCE(paused_since, ?)" : "NULL"
            let arguments: StatementArguments = paused ? [now, now, secret.text] : [now, secret.text]
            try database.execute(
                sql: "UPDATE secrets SET paused_since = \(change), next_due = ? WHERE name = ?", arguments: arguments)
            try Self.append(
                AuditEvent(
                    at: date, kind: paused ? "secret.paused" : "secret.resumed", secret: secret, actor: actor),
                database)
        }
    }

    package func request(
        _ request: SecretRecord.RotationRequest, of secret: SecretName, actor: String
    ) async throws(JournalError) {
        try await write { database in
            try Self.makeKnown(secret, database)
            let joined = request.joined(with: try Self.wishes(of: secret, database).request)
            try database.execute(
                sql: "UPDATE secrets SET request = ?, next_due = ? WHERE name = ?",
                arguments: [try JournalCoding.encode(joined), JournalCoding.milliseconds(request.at), secret.text])
            try Self.append(request.auditEvent(of: secret, actor: actor), database)
        }
    }

    package func requestRepair(of secret: SecretName, at date: Date, actor: String) async throws(JournalError) {
        try await write { database in
            try Self.makeKnown(secret, database)
            let now = JournalCoding.milliseconds(date)
            try database.execute(
                sql: "UPDATE secrets SET repair_since = ?, next_due = ? WHERE name = ?",
                arguments: [now, now, secret.text])
            try Self.append(
                AuditEvent(at: date, kind: "distribution.requested", secret: secret, actor: actor), database)
        }
    }

    package func wishes(of secret: SecretName) async throws(JournalError) -> SecretWishes {
        try await read { try Self.wishes(of: secret, $0) }
    }

    private static func wishes(of secret: SecretName, _ database: Database) throws -> SecretWishes {
        let row = try Row.fetchOne(
            database, sql: "SELECT paused_since, request, repair_since FROM secrets WHERE name = ?",
            arguments: [secret.text])
        return try row.map(wishes) ?? SecretWishes()
    }

    private static func wishes(_ row: Row) throws -> SecretWishes {
        SecretWishes(
            pausedSince: (try row.held("paused_since") as Int64?).map(JournalCoding.date),
            request: try (row.held("request") as String?).map {
                try JournalCoding.decode(SecretRecord.RotationRequest.self, from: $0)
            }, repairSince: (try row.held("repair_since") as Int64?).map(JournalCoding.date))
    }

    private static func makeKnown(_ secret: SecretName, _ database: Database) throws {
        try database.execute(
            sql: "INSERT INTO secrets (name, state) VALUES (?, ?) ON CONFLICT (name) DO NOTHING",
            arguments: [secret.text, try JournalCoding.encode(SecretRecord(name: secret))])
        if database.changesCount > 0 { try RecordDigest.write(of: secret.text, database) }
    }
}
