import Foundation
import GRDB
import KeyturnCore
import TestSupport
import Testing

@testable import KeyturnStore

#if canImport(Glibc)
    import Glibc
#endif

@Suite("The journal in SQLite")
struct SQLiteJournalTests {
    private let start = Date(timeIntervalSince1970: 1_800_000_000)

    private func claim(_ journal: SQLiteJournal, _ secret: String = "team/key", owner: String = "a") async throws
        -> Lease
    {
        try #require(try await journal.claim(try SecretName(secret), owner: owner, term: term()))
    }

    private func term(_ passed: Double = 0) -> LeaseTerm {
        LeaseTerm(
            from: ClockReading(wall: start.addingTimeInterval(passed), uptime: passed, boot: "b"), seconds: 60)
    }

    private func caught(_ body: () throws -> Void) -> JournalError? {
        do { try body() } catch { return error as? JournalError }
        return nil
    }

    // MARK: What the doctor looks at

    @Test func claimsOfTheDeadAreTakenFromThemAlone() async throws {
        let folder = try StoreFolder()
        let journal = try SQLiteJournal(path: folder.state)
        let dead = try await claim(journal, owner: "dead")
        _ = try await claim(journal, "team/other", owner: "alive")
        let held = try await journal.leases()
        #expect(held.map(\.owner) == ["dead", "alive"])
        #expect(held.first?.term == term())
        // Another took the first one over since it was looked at.
        try await journal.release(dead)
        let next = try await claim(journal, owner: "dead")
        try await journal.release([held[0]])
        try await journal.commit(JournalChange(record: SecretRecord(name: next.secret), nextDue: nil), under: next)
        try await journal.release(try await journal.leases().filter { $0.owner == "dead" })
        #expect(try await journal.leases().map(\.owner) == ["alive"])
        await #expect(throws: JournalError.leaseLost(next.secret)) {
            try await journal.commit(JournalChange(record: SecretRecord(name: next.secret), nextDue: nil), under: next)
        }
    }

    @Test func aWholeStateHasNothingToInspect() async throws {
        let folder = try StoreFolder()
        _ = try SQLiteJournal(path: folder.state)
        let inspection = try StateInspection(path: folder.state)
        #expect(inspection.damages.isEmpty)
        #expect(inspection.unknown == nil && inspection.missing == nil)
    }

    /// Before migration 7 claims were timed by the wall clock.
    @Test func aClaimOfAnOlderKeyturnIsFree() async throws {
        let folder = try StoreFolder()
        try PrivateDatabaseFile.prepare(folder.state)
        do {
            let pool = try DatabasePool(path: folder.state)
            try JournalMigrations.migrator.migrate(pool, upTo: "6 emergencies")
            try await pool.write { database in
                try database.execute(
                    sql: """
                        INSERT INTO secrets (name, state, lease_owner, lease_until, lease_token)
                        VALUES ('team/key', '{}', 'old', 9e15, 7)
                        """)
            }
            try pool.close()
        }
        let journal = try SQLiteJournal(path: folder.state)
        #expect(try await journal.leases().isEmpty)
        #expect(try await claim(journal).token == 9)
    }

    @Test func anOlderAndANewerSchemaAreTold() async throws {
        let folder = try StoreFolder()
        let journal = try SQLiteJournal(path: folder.state)
        try await journal.pool.write { database in
            try database.execute(sql: "DELETE FROM grdb_migrations WHERE identifier = '5 wish for a repair'")
            try database.execute(sql: "INSERT INTO grdb_migrations (identifier) VALUES ('99 future')")
        }
        let inspection = try StateInspection(path: folder.state)
        #expect(inspection.unknown == "99 future")
        #expect(inspection.missing == "5 wish for a repair")
    }

    // MARK: Durability

    @Test func writesAreLoggedAheadAndSynced() async throws {
        let folder = try StoreFolder()
        let journal = try SQLiteJournal(path: folder.state)
        let settings = try await journal.pool.write { database in
            try ["journal_mode", "synchronous", "foreign_keys"].map { name in
                try String.fetchOne(database, sql: "SELECT * FROM pragma_\(name)")
            }
        }
        // 2 is FULL.
        #expect(settings == ["wal", "2", "1"])
    }

    @Test func whatWasCommittedIsThereAfterItIsOpenedAgain() async throws {
        let folder = try StoreFolder()
        let name = try SecretName("team/key")
        let installation: Installation
        do {
            let journal = try SQLiteJournal(path: folder.state)
            installation = try await journal.installation()
            var record = SecretRecord(name: name)
            record.put(.sample(from: start))
            let lease = try await claim(journal)
            try await journal.commit(JournalChange(record: record, nextDue: start), under: lease)
        }
        let again = try SQLiteJournal(path: folder.state)
        #expect(try await again.installation() == installation)
        #expect(try await again.record(of: name)?.versions == [.sample(from: start)])
        #expect(try await again.due(by: .distantFuture, limit: 1).first?.at == start)
    }

    @Test func twoJournalsHaveTwoInstances() async throws {
        let one = try StoreFolder()
        let other = try StoreFolder()
        let first = try await SQLiteJournal(path: one.state).installation()
        let second = try await SQLiteJournal(path: other.state).installation()
        #expect(first.instance != second.instance)
    }

    /// What a step did must be recorded, also when the daemon is being stopped.
    @Test func aCommitOfACancelledTaskIsWritten() async throws {
        let folder = try StoreFolder()
        let journal = try SQLiteJournal(path: folder.state)
        let lease = try await claim(journal)
        let start = start
        let task = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            var record = SecretRecord(name: lease.secret)
            record.abandonedInARow = 3
            try await journal.commit(JournalChange(record: record, nextDue: start), under: lease)
        }
        try await task.value
        #expect(try await journal.record(of: lease.secret)?.abandonedInARow == 3)
    }

    @Test func aCommitThatFailsHalfWayWritesNothing() async throws {
        let folder = try StoreFolder()
        let journal = try SQLiteJournal(path: folder.state)
        let lease = try await claim(journal)
        try await journal.pool.write { database in
            try database.execute(
                sql: "CREATE TRIGGER stop BEFORE INSERT ON orphans BEGIN SELECT RAISE(ABORT, 'stopped'); END")
        }
        var record = SecretRecord(name: lease.secret)
        record.put(.sample(from: start))
        let orphan = OrphanRecord(
            id: "CANARY-ID", secret: lease.secret, version: 1, issuer: "i", keyID: nil, issueParameters: [:],
            state: .possible, since: start, until: nil, detail: "CANARY")
        let change = JournalChange(
            record: record, nextDue: start,
            audit: [AuditEvent(at: start, kind: "step.intended", secret: lease.secret)], orphans: [orphan])
        do {
            try await journal.commit(change, under: lease)
            Issue.record("the trigger did not stop the commit")
        } catch {
            #expect(error == .failed("\(folder.state): SQLite: stopped"))
            #expect(!"\(error)".contains("CANARY"), "no statement and no value reaches an error")
        }
        #expect(try await journal.record(of: lease.secret)?.versions.isEmpty == true)
        #expect(try await journal.due(by: .distantFuture, limit: 1).first?.at == nil)
        #expect(try await journal.auditEntries(of: nil, after: 0, limit: 9).isEmpty)
    }

    // MARK: Plans of queries

    private func plan(_ sql: String, _ arguments: StatementArguments) async throws -> String {
        let folder = try StoreFolder()
        let journal = try SQLiteJournal(path: folder.state)
        return try await journal.pool.read { database in
            try Row.fetchAll(database, sql: "EXPLAIN QUERY PLAN \(sql)", arguments: arguments)
                .compactMap { $0["detail"] as String? }.joined(separator: "\n")
        }
    }

    @Test func whatIsDueComesOffTheIndexWithoutSorting() async throws {
        let plan = try await plan(SQLiteJournal.dueQuery, [0, 10])
        #expect(plan == "SEARCH secrets USING COVERING INDEX secrets_by_due (next_due<?)")
    }

    @Test func theEarliestTimeComesOffTheIndex() async throws {
        let plan = try await plan(
            "SELECT next_due FROM secrets WHERE next_due IS NOT NULL ORDER BY next_due LIMIT 1", [])
        #expect(plan.contains("USING COVERING INDEX secrets_by_due"))
        #expect(!plan.contains("TEMP B-TREE"))
    }

    // MARK: The audit trail

    @Test(arguments: ["UPDATE audit SET kind = 'x'", "DELETE FROM audit", "DELETE FROM audit WHERE sequence = 1"])
    func theTrailIsAppendOnly(sql: String) async throws {
        let folder = try StoreFolder()
        let journal = try SQLiteJournal(path: folder.state)
        try await journal.audit(AuditEvent(at: start, kind: "started", secret: nil))
        await #expect(throws: DatabaseError.self) {
            try await journal.pool.write { try $0.execute(sql: sql) }
        }
        #expect(try await journal.auditEntries(of: nil, after: 0, limit: 9).map(\.event.kind) == ["started"])
    }

    @Test func tamperingBeneathTheTriggersIsFound() async throws {
        let folder = try StoreFolder()
        let journal = try SQLiteJournal(path: folder.state)
        for number in 1...5 { try await journal.audit(AuditEvent(at: start, kind: "e\(number)", secret: nil)) }
        try await journal.pool.write { database in
            try database.execute(
                sql: "DROP TRIGGER audit_is_append_only_update; UPDATE audit SET actor = 'ann' WHERE sequence = 3")
        }
        let entries = try await journal.auditEntries(of: nil, after: 0, limit: 9)
        #expect(AuditChain.firstBreak(in: entries)?.problem == "entry 3 was changed after it was written")
    }

    // MARK: Several processes

    @Test func twoThatShareAStateAreFencedOff() async throws {
        let folder = try StoreFolder()
        let first = try SQLiteJournal(path: folder.state)
        let second = try SQLiteJournal(path: folder.state)
        let lost = try await claim(first)
        let name = lost.secret
        #expect(try await second.claim(name, owner: "b", term: term(9)) == nil)
        let taken = try #require(await second.claim(name, owner: "b", term: term(60)))
        await #expect(throws: JournalError.leaseLost(name)) {
            try await first.commit(JournalChange(record: SecretRecord(name: name), nextDue: nil), under: lost)
        }
        try await second.commit(JournalChange(record: SecretRecord(name: name), nextDue: start), under: taken)
        #expect(try await first.due(by: .distantFuture, limit: 1).first?.at == start)
    }

    @Test func aReaderBesideAWriterSeesWhatIsCommittedAndChangesNothing() async throws {
        let folder = try StoreFolder()
        let writer = try SQLiteJournal(path: folder.state)
        let reader = try SQLiteJournal(path: folder.state, access: .readOnly)
        let lease = try await claim(writer)
        #expect(try await reader.records().map(\.name) == [lease.secret])
        try await writer.commit(JournalChange(record: SecretRecord(name: lease.secret), nextDue: start), under: lease)
        #expect(try await reader.due(by: .distantFuture, limit: 1).first?.at == start)
        await #expect(throws: JournalError.self) {
            try await reader.audit(AuditEvent(at: start, kind: "x", secret: nil))
        }
        await #expect(throws: JournalError.self) {
            _ = try await reader.claim(lease.secret, owner: "b", term: term(60))
        }
        #expect(try await writer.auditEntries(of: nil, after: 0, limit: 9).isEmpty)
    }

    @Test func aReaderMakesNoFile() throws {
        let folder = try StoreFolder()
        #expect(throws: JournalError.self) { try SQLiteJournal(path: folder.state, access: .readOnly) }
        #expect(!FileManager.default.fileExists(atPath: folder.state))
        #expect(!FileManager.default.fileExists(atPath: "\(folder.path)/var"))
    }

    @Test func aReaderRefusesAStateThatIsNotWhole() throws {
        let folder = try StoreFolder()
        let file = try folder.write([], to: "empty.db")
        let error = caught { _ = try SQLiteJournal(path: file, access: .readOnly) }
        #expect(error == .incomplete(file))
    }

    // MARK: Files that are not as they should be

    @Test func filesAndFoldersAreForTheirOwnerAlone() async throws {
        let folder = try StoreFolder()
        let journal = try SQLiteJournal(path: folder.state)
        _ = try await claim(journal)
        #expect(try StoreFolder.mode("\(folder.path)/var") == 0o700)
        for name in ["keyturn.db", "keyturn.db-wal", "keyturn.db-shm"] {
            #expect(try StoreFolder.mode("\(folder.path)/var/\(name)") == 0o600, "\(name)")
        }
    }

    @Test(arguments: [0o640, 0o604, 0o660, 0o644] as [UInt32])
    func aStateThatOthersCanReadIsRefused(mode: UInt32) throws {
        let folder = try StoreFolder()
        _ = try SQLiteJournal(path: folder.state)
        try #require(chmod(folder.state, mode) == 0)
        let error = caught { _ = try SQLiteJournal(path: folder.state) }
        #expect(
            error == .permission("others may read \(folder.state); mend it with `chmod 600 \(folder.state)`"))
    }

    @Test func aLinkIsRefused() throws {
        let folder = try StoreFolder()
        _ = try SQLiteJournal(path: folder.state)
        let link = "\(folder.path)/link.db"
        try #require(symlink(folder.state, link) == 0)
        guard case .failed = caught({ _ = try SQLiteJournal(path: link) }) else {
            Issue.record("a link was opened")
            return
        }
    }

    @Test func aFolderIsNoState() throws {
        let folder = try StoreFolder()
        #expect(throws: JournalError.self) { try SQLiteJournal(path: folder.path) }
    }

    @Test(arguments: [SQLiteJournal.Access.readWrite, .readOnly])
    func aFileThatIsNoDatabaseIsDamaged(access: SQLiteJournal.Access) throws {
        let folder = try StoreFolder()
        let file = try folder.write(Array(String(repeating: "not a database ", count: 500).utf8), to: "text.db")
        guard case .damaged = caught({ _ = try SQLiteJournal(path: file, access: access) }) else {
            Issue.record("it was opened")
            return
        }
    }

    @Test func aDamagedPageIsFoundAndNeverReadAsNothing() async throws {
        let folder = try StoreFolder()
        do {
            let journal = try SQLiteJournal(path: folder.state)
            for number in 0..<200 { _ = try await claim(journal, "team/key-\(number)") }
            _ = try await journal.pool.writeWithoutTransaction { try $0.checkpoint(.truncate) }
        }
        var bytes = Array(try Data(contentsOf: URL(filePath: folder.state)))
        // Every page but the first two keeps its place and loses its content.
        for index in bytes.indices where index >= 8_192 { bytes[index] = 0xA5 }
        try Data(bytes).write(to: URL(filePath: folder.state))
        try #require(chmod(folder.state, 0o600) == 0)
        do {
            let journal = try SQLiteJournal(path: folder.state)
            _ = try await journal.records()
            Issue.record("damaged pages were read")
        } catch {
            guard case .damaged = error else {
                Issue.record("\(error)")
                return
            }
        }
    }

    @Test(arguments: [SQLiteJournal.Access.readWrite, .readOnly])
    func aStateOfANewerVersionIsRefused(access: SQLiteJournal.Access) async throws {
        let folder = try StoreFolder()
        do {
            let journal = try SQLiteJournal(path: folder.state)
            try await journal.pool.write {
                try $0.execute(sql: "INSERT INTO grdb_migrations (identifier) VALUES ('9 from the future')")
            }
        }
        let error = caught { _ = try SQLiteJournal(path: folder.state, access: access) }
        #expect(error == .newerSchema(found: "it has '9 from the future'"))
        #expect(try #require(error).description.hasPrefix("the state was written by a newer Keyturn"))
    }

    @Test func aRecordThatCanNotBeReadIsDamagedAndNotRepeated() async throws {
        let folder = try StoreFolder()
        let journal = try SQLiteJournal(path: folder.state)
        let lease = try await claim(journal)
        try await journal.pool.write { database in
            try database.execute(sql: "UPDATE secrets SET state = '{\"CANARY\": 1}'")
            try RecordDigest.write(of: lease.secret.text, database)
        }
        do {
            _ = try await journal.record(of: lease.secret)
            Issue.record("it was read")
        } catch { #expect(error == .damaged("\(folder.state): a record of type SecretRecord can't be read")) }
    }

    /// Whatever type of value lies in a column, reading it is an answer or an error, and never the end of the process.
    @Test func noTypeOfValueInAColumnEndsTheProcess() async throws {
        let folder = try StoreFolder()
        let journal = try SQLiteJournal(path: folder.state)
        var record = SecretRecord(name: try SecretName("team/key"))
        record.put(.sample(1, .current, from: start))
        let lease = try await claim(journal)
        try await journal.commit(JournalChange(record: record, nextDue: start), under: lease)
        try await journal.audit(AuditEvent(at: start, kind: "test", secret: lease.secret))
        let columns = try await journal.pool.write { database in
            try database.execute(
                sql: """
                    INSERT INTO alerts VALUES (1, 'event', 'ops', '{}', 0, 0);
                    INSERT INTO orphans VALUES ('id', 'possible', '{}');
                    INSERT INTO audit_checkpoints VALUES (1, 'key', 'head', 1, 1, 'instance', x'00');
                    INSERT INTO switches VALUES ('all', '{}');
                    UPDATE secrets SET request = '{}', repair_since = 1, paused_since = 1;
                    """)
            return try String.fetchAll(
                database, sql: "SELECT name FROM sqlite_master WHERE type = 'table' AND sql NOT LIKE '%sqlite%'"
            ).filter { $0 != "grdb_migrations" }.flatMap { table in
                try database.columns(in: table).map { (table: table, name: $0.name) }
            }
        }
        var tried = 0
        var refused = 0
        for (table, column) in columns {
            for (number, value) in ["x'ff00'", "'none'", "1.5", "9223372036854775807", "NULL"].enumerated() {
                let copy = "\(folder.path)/\(table)-\(column)-\(number).db"
                try await journal.pool.vacuum(into: copy)
                do {
                    try await DatabaseQueue(path: copy).write { database in
                        try database.execute(
                            sql: """
                                DROP TRIGGER audit_is_append_only_update;
                                DROP TRIGGER audit_checkpoints_are_append_only_update;
                                UPDATE \(table) SET \(column) = \(value);
                                """)
                    }
                } catch { continue }  // The schema itself has no room for it.
                tried += 1
                try #require(chmod(copy, 0o600) == 0)
                refused += min(1, await refusals(try SQLiteJournal(path: copy), lease))
            }
        }
        #expect(tried > 100)
        #expect(refused > 50)
    }

    /// How many questions to a journal are answered with an error.
    private func refusals(_ journal: SQLiteJournal, _ lease: Lease) async -> Int {
        let questions: [() async throws -> Void] = [
            { _ = try await journal.record(of: lease.secret) }, { _ = try await journal.records() },
            { _ = try await journal.due(by: .distantFuture, limit: 9) },
            { _ = try await journal.wishes(of: lease.secret) },
            { _ = try await journal.installation() }, { _ = try await journal.installationState() },
            { _ = try await journal.auditEntries(of: nil, after: 0, limit: 9) },
            { _ = try await journal.auditTrail(after: 0, limit: 9) },
            { _ = try await journal.checkpoints(after: nil, limit: 9) },
            { _ = try await journal.dueAlerts(at: .distantFuture, limit: 9) },
            { _ = try await journal.orphans() }, { _ = try await journal.switches() },
            { _ = try await journal.failuresInARow() },
            { try await journal.audit(AuditEvent(at: .now, kind: "test", secret: nil)) },
        ]
        var count = 0
        for question in questions {
            do { try await question() } catch { count += 1 }
        }
        return count
    }

    @Test func aNameThatIsNoneIsDamage() async throws {
        let folder = try StoreFolder()
        let journal = try SQLiteJournal(path: folder.state)
        _ = try await claim(journal)
        try await journal.pool.write { try $0.execute(sql: "UPDATE secrets SET name = 'NOT A NAME', next_due = 1") }
        do {
            _ = try await journal.due(by: start, limit: 1)
            Issue.record("it was read")
        } catch { #expect(error == .damaged("\(folder.state): what stands there is none of ours")) }
    }

    /// A flipped bit in a page of the database is noticed by nobody but us.
    @Test(
        arguments: [
            "UPDATE secrets SET state = replace(state, 'a', 'b')",
            "UPDATE versions SET state = replace(state, '1', '2')",
            "UPDATE versions SET sealed = x'00'", "DELETE FROM versions", "UPDATE secrets SET digest = ''",
        ])
    func aRecordThatIsNotWhatWasWrittenIsDamaged(sql: String) async throws {
        let folder = try StoreFolder()
        let journal = try SQLiteJournal(path: folder.state)
        let lease = try await claim(journal)
        var record = SecretRecord(name: lease.secret)
        record.put(.sample(1, from: start))
        try await journal.commit(JournalChange(record: record, nextDue: start), under: lease)
        #expect(try await journal.record(of: lease.secret)?.versions.count == 1)
        try await journal.pool.write { try $0.execute(sql: sql) }
        let expected = JournalError.damaged(
            "\(folder.state): the record of \(lease.secret) is not what was written")
        do {
            _ = try await journal.record(of: lease.secret)
            Issue.record("it was read")
        } catch { #expect(error == expected) }
        do {
            _ = try await journal.records()
            Issue.record("they were read")
        } catch { #expect(error == expected) }
    }

    /// The database is held to the pages that it has, as a full disk would.
    @Test func aFullDiskLosesNothing() async throws {
        let folder = try StoreFolder()
        let journal = try SQLiteJournal(path: folder.state)
        let lease = try await claim(journal)
        var record = SecretRecord(name: lease.secret)
        record.put(.sample(1, from: start))
        try await journal.commit(JournalChange(record: record, nextDue: start), under: lease)
        try await journal.pool.write { database in
            let pages = try Int.fetchOne(database, sql: "PRAGMA page_count") ?? 0
            try database.execute(sql: "PRAGMA max_page_count = \(pages)")
        }
        var larger = record
        larger.versions[0].sealed = Data(repeating: 7, count: 1 << 20)
        do {
            try await journal.commit(JournalChange(record: larger, nextDue: nil), under: lease)
            Issue.record("it was written")
        } catch {
            guard case .full = error else {
                Issue.record("\(error)")
                return
            }
            #expect("\(error)".contains("free some space, nothing was lost"))
        }
        #expect(try await journal.record(of: lease.secret) == record)
        #expect(try await journal.due(by: .distantFuture, limit: 1).first?.at == start)
        try await journal.pool.write { try $0.execute(sql: "PRAGMA max_page_count = 1000000") }
        try await journal.commit(JournalChange(record: larger, nextDue: nil), under: lease)
        #expect(try await journal.record(of: lease.secret) == larger)
    }

    @Test func errorsSayWhatToDo() throws {
        let name = try SecretName("team/key")
        let sentences: [(JournalError, String)] = [
            (.locked("process 7"), "another process holds the state (process 7); wait for it or stop it"),
            (.leaseLost(name), "another process took over team/key; nothing was changed here"),
            (.damaged("x"), "the state is damaged (x); restore it from a backup"),
            (.permission("x"), "no permission for the state (x); check owner and mode of its folder"),
            (.failed("x"), "the state could not be read or written: x"),
        ]
        for (error, sentence) in sentences { #expect("\(error)" == sentence) }
    }
}
