import GRDB
package import KeyturnCore

/// A claim on a secret that was not given back.
package struct HeldLease: Sendable, Equatable {
    package let secret: SecretName
    package let owner: String
    package let term: LeaseTerm
    let token: Int64
}

extension SQLiteJournal {
    /// Claims that are held, by secret.
    package func leases() async throws(JournalError) -> [HeldLease] {
        try await read { database in
            let rows = try Row.fetchAll(
                database,
                sql: """
                    SELECT name, lease_owner, lease_term, lease_token FROM secrets WHERE lease_owner IS NOT NULL
                    ORDER BY name
                    """)
            return try rows.compactMap { row in
                guard let name: String = try row.held("name"), let owner: String = try row.held("lease_owner"),
                    let term = try Self.term(row), let token: Int64 = try row.held("lease_token")
                else { return nil }
                return HeldLease(
                    secret: try SecretName(name), owner: owner, term: term, token: token)
            }
        }
    }

    static func term(_ row: Row) throws -> LeaseTerm? {
        let text: String? = try row.held("lease_term")
        return try text.map { try JournalCoding.decode(LeaseTerm.self, from: $0) }
    }

    /// Takes claims from owners that are known to be dead. One that was taken over since stays.
    package func release(_ leases: [HeldLease]) async throws(JournalError) {
        try await write { database in
            for lease in leases {
                try database.execute(
                    sql: """
                        UPDATE secrets SET lease_owner = NULL, lease_token = lease_token + 1
                        WHERE name = ? AND lease_owner = ? AND lease_token = ?
                        """, arguments: [lease.secret.text, lease.owner, lease.token])
            }
        }
    }
}
