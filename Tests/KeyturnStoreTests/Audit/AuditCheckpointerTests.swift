import Foundation
import GRDB
import KeyturnCore
import Testing

@testable import KeyturnStore

#if canImport(Glibc)
    import Glibc
#endif

@Suite("Signing the audit trail")
struct AuditCheckpointerTests {
    private let start = Date(timeIntervalSince1970: 1_800_000_000)
    private let key = AuditSigningKey()

    private func fill(_ journal: SQLiteJournal, _ count: Int) async throws {
        for index in 0..<count {
            try await journal.audit(
                AuditEvent(
                    at: start.addingTimeInterval(Double(index)), kind: "step.succeeded",
                    secret: try SecretName("team/key"), detail: ["n": "\(index)"]))
        }
    }

    private func checkpointer(
        _ journal: SQLiteJournal, file: CheckpointFile? = nil, key: AuditSigningKey? = nil
    ) async throws -> AuditCheckpointer {
        AuditCheckpointer(
            journal: journal, key: key ?? self.key, file: file, instance: try await journal.installation().instance,
            now: start)
    }

    /// What somebody does who can write to the database.
    private func tamper(_ journal: SQLiteJournal, _ sql: String) async throws {
        try await journal.pool.write { database in
            for name in try String.fetchAll(database, sql: "SELECT name FROM sqlite_master WHERE type = 'trigger'") {
                try database.execute(sql: "DROP TRIGGER \(name)")
            }
            try database.execute(sql: sql)
        }
    }

    private func kept(_ journal: SQLiteJournal) async throws -> [Int64] {
        try await journal.checkpoints(after: nil, limit: 100).map(\.place.sequence)
    }

    @Test func itSignsWhatIsNewAndNothingTwice() async throws {
        let folder = try StoreFolder()
        let journal = try SQLiteJournal(path: folder.state)
        let file = CheckpointFile(path: "\(folder.path)/checkpoints")
        let checkpointer = try await checkpointer(journal, file: file)
        #expect(try await checkpointer.checkpoint(at: start) == .nothingNew)
        try await fill(journal, 3)
        guard case .signed(let first) = try await checkpointer.checkpoint(at: start) else {
            Issue.record("nothing was signed")
            return
        }
        #expect(first.sequence == 3 && first.entries == 3 && first.isAuthentic && first.at == start)
        #expect(try await journal.auditHashes(of: [3, 4]) == [3: first.head])
        #expect(try await checkpointer.checkpoint(at: start) == .nothingNew)
        try await fill(journal, 1)
        _ = try await checkpointer.checkpoint(at: start)
        #expect(try await kept(journal) == [3, 4])
        #expect(try await journal.newestCheckpoint()?.checkpoint == file.newest())
        #expect(try StoreFolder.mode(file.path) & 0o027 == 0)
        let lines = try String(contentsOfFile: file.path, encoding: .utf8).split(separator: "\n")
        #expect(lines.count == 2 && AuditLine(lines[0]) == .checkpoint(first))
        // Another process goes on where this one ended; another key signs again what is there.
        #expect(try await self.checkpointer(journal, file: file).checkpoint(at: start) == .nothingNew)
        _ = try await self.checkpointer(journal, file: file, key: AuditSigningKey()).checkpoint(at: start)
        #expect(try await kept(journal) == [3, 4, 4])
    }

    @Test func itIsDueByCountOrByTime() async throws {
        let folder = try StoreFolder()
        let journal = try SQLiteJournal(path: folder.state)
        let checkpointer = try await checkpointer(journal)
        let soon = start.addingTimeInterval(1)
        #expect(try await checkpointer.checkpointIfDue(at: .distantFuture) == .nothingNew)
        try await fill(journal, Int(AuditCheckpointer.mostUncovered) - 1)
        #expect(try await checkpointer.checkpointIfDue(at: soon) == .nothingNew)
        try await fill(journal, 1)
        guard case .signed = try await checkpointer.checkpointIfDue(at: soon) else {
            Issue.record("100 entries are enough")
            return
        }
        try await fill(journal, 1)
        let due = soon.addingTimeInterval(AuditCheckpointer.longestUncovered)
        #expect(try await checkpointer.checkpointIfDue(at: due.addingTimeInterval(-0.001)) == .nothingNew)
        guard case .signed = try await checkpointer.checkpointIfDue(at: due) else {
            Issue.record("five minutes are enough")
            return
        }
        #expect(try await kept(journal) == [100, 101])
    }

    @Test(arguments: [
        ("UPDATE audit SET actor = 'x' WHERE sequence = 5", "entry 5 was changed after it was written"),
        ("DELETE FROM audit WHERE sequence = 5", "entry 5 is missing; the next one found is 6"),
        ("DELETE FROM audit WHERE sequence >= 3", "entry 3 of the audit trail is missing; it was signed before"),
        (
            "UPDATE audit SET hash = 'x' WHERE sequence = 3",
            "entry 3 of the audit trail was rewritten; it was signed before"
        ),
        (
            "UPDATE audit SET detail = 7 WHERE sequence = 4",
            "entry 4 was changed after it was written: it can't be read any more"
        ),
        (
            "UPDATE audit SET at = 'late' WHERE sequence = 4",
            "entry 4 was changed after it was written: it can't be read any more"
        ),
    ]) func aTrailThatWasChangedIsNotSigned(sql: String, reason: String) async throws {
        let folder = try StoreFolder()
        let journal = try SQLiteJournal(path: folder.state)
        let checkpointer = try await checkpointer(journal)
        try await fill(journal, 3)
        _ = try await checkpointer.checkpoint(at: start)
        try await fill(journal, 3)
        try await tamper(journal, sql)
        for _ in 0..<2 { #expect(try await checkpointer.checkpoint(at: start) == .refused(reason)) }
        #expect(try await kept(journal) == [3])
    }

    /// The database alone looks whole then.
    @Test func theFileKnowsWhatTheDatabaseHasForgotten() async throws {
        let folder = try StoreFolder()
        let journal = try SQLiteJournal(path: folder.state)
        let file = CheckpointFile(path: "\(folder.path)/checkpoints")
        try await fill(journal, 5)
        _ = try await checkpointer(journal, file: file).checkpoint(at: start)
        try await tamper(journal, "DELETE FROM audit WHERE sequence > 2; DELETE FROM audit_checkpoints")
        let refused = AuditCheckpointer.Outcome.refused(
            "entry 5 of the audit trail is missing; it was signed before")
        #expect(try await checkpointer(journal, file: file).checkpoint(at: start) == refused)
        guard case .signed = try await checkpointer(journal).checkpoint(at: start) else {
            Issue.record("without the file nothing tells")
            return
        }
    }

    @Test func aFileThatCannotBeWrittenIsToldAndLosesNoCheckpoint() async throws {
        let folder = try StoreFolder()
        let journal = try SQLiteJournal(path: folder.state)
        try await fill(journal, 1)
        let path = "\(folder.path)/missing/checkpoints"
        guard
            case .notFiled(_, let reason) = try await checkpointer(journal, file: CheckpointFile(path: path))
                .checkpoint(at: start)
        else {
            Issue.record("it must say so")
            return
        }
        #expect(reason == "can't open the checkpoint file \(path): No such file or directory")
        #expect(try await kept(journal) == [1])
    }

    @Test func aTornLineIsLeftAloneAndTheNextOneIsWhole() async throws {
        let folder = try StoreFolder()
        let journal = try SQLiteJournal(path: folder.state)
        try await fill(journal, 1)
        let path = try folder.write(Array("{\"at\":\"20".utf8), to: "checkpoints")
        let file = CheckpointFile(path: path)
        _ = try await checkpointer(journal, file: file).checkpoint(at: start)
        let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
        #expect(lines.count == 2 && lines[0] == "{\"at\":\"20")
        #expect(try file.newest()?.sequence == 1)
    }

    @Test func neitherALinkNorAPipeIsWrittenTo() async throws {
        let folder = try StoreFolder()
        let journal = try SQLiteJournal(path: folder.state)
        try await fill(journal, 1)
        let target = try folder.write([], to: "elsewhere")
        let link = "\(folder.path)/link"
        try #require(symlink(target, link) == 0)
        let pipe = "\(folder.path)/pipe"
        try #require(mkfifo(pipe, 0o600) == 0)
        for path in [link, pipe] {
            let checkpointer = try await checkpointer(
                journal, file: CheckpointFile(path: path), key: AuditSigningKey())
            guard case .notFiled = try await checkpointer.checkpoint(at: start) else {
                Issue.record("\(path) was written to")
                continue
            }
        }
        #expect(try Data(contentsOf: URL(filePath: target)).isEmpty)
    }

    @Test func theDatabaseKeepsCheckpointsAsTheyAre() async throws {
        let folder = try StoreFolder()
        let journal = try SQLiteJournal(path: folder.state)
        try await fill(journal, 1)
        _ = try await checkpointer(journal).checkpoint(at: start)
        for sql in ["DELETE FROM audit_checkpoints", "UPDATE audit_checkpoints SET entries = 0"] {
            await #expect(throws: DatabaseError.self) { try await journal.pool.write { try $0.execute(sql: sql) } }
        }
    }
}

@Suite("Files of lines")
struct LineFileTests {
    private func lines(_ path: String, limit: Int = 100) throws -> [(Int, String, Bool)] {
        let file = try LineFile(path, limit: limit)
        var found: [(Int, String, Bool)] = []
        while let line = try file.next() { found.append((line.number, line.text, line.isWhole)) }
        return found
    }

    @Test func everyLineComesOnce() throws {
        let folder = try StoreFolder()
        // Longer than what is read at once.
        let many = (0..<5_000).map { "line \($0) \(String(repeating: "x", count: $0 % 90))" }
        let path = try folder.write(Array((many.joined(separator: "\n") + "\n").utf8), to: "many")
        let found = try lines(path)
        #expect(found.map { $0.1 } == many && found.allSatisfy { $0.2 } && found.last?.0 == 5_000)
    }

    @Test func endsAndLongLinesAreTold() throws {
        let folder = try StoreFolder()
        #expect(try lines(try folder.write([], to: "empty")).isEmpty)
        let cut = try lines(try folder.write(Array("a\n\nb".utf8), to: "cut"))
        #expect(cut.map { $0.1 } == ["a", "", "b"] && cut.map { $0.2 } == [true, true, false])
        let long = try lines(try folder.write([UInt8](repeating: 0x61, count: 200_000), to: "long"))
        #expect(long.allSatisfy { !$0.2 && $0.1.utf8.count <= 100 })
        #expect(throws: SystemError.self) { try LineFile(folder.path) }
        #expect(throws: SystemError.self) { try LineFile("\(folder.path)/nothing") }
    }
}
