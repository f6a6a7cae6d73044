import Crypto
import Foundation
import GRDB
import KeyturnCore

/// A digest over a secret's record with all its versions, by which a damaged page is noticed that still reads as one:
/// SQLite checks the pages of its log, and not those of the database.
enum RecordDigest {
    /// Hexadecimal SHA-256 over a length-prefixed list of all members.
    static func of(_ name: String, state: String, versions: [Row]) throws -> String {
        var hash = SHA256()
        func add(_ bytes: Data) {
            hash.update(data: Data("\(bytes.count):".utf8))
            hash.update(data: bytes)
        }
        add(Data(name.utf8))
        add(Data(state.utf8))
        for version in versions {
            add(Data((try version.held("state") as String? ?? "").utf8))
            add(try version.held("sealed") as Data? ?? Data())
        }
        return hash.finalize().map { String(format: "%02x", $0) }.joined()
    }

    /// Writes the digest of what is there, in the transaction that changed it.
    static func write(of name: String, _ database: Database) throws {
        let state = try String.fetchOne(database, sql: "SELECT state FROM secrets WHERE name = ?", arguments: [name])
        let versions = try Row.fetchAll(
            database, sql: "SELECT state, sealed FROM versions WHERE secret = ? ORDER BY number", arguments: [name])
        try database.execute(
            sql: "UPDATE secrets SET digest = ? WHERE name = ?",
            arguments: [try of(name, state: state ?? "", versions: versions), name])
    }

    static func check(_ row: Row, versions: [Row]) throws {
        let name: String = try row.held("name") ?? ""
        let digest = try of(name, state: row.held("state") ?? "", versions: versions)
        guard try row.held("digest") == digest else {
            throw JournalError.damaged("the record of \(name) is not what was written")
        }
    }
}
