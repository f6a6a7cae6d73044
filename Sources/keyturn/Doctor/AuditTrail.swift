import KeyturnCore

/// Reads the whole audit trail, page by page, against its hash chain.
enum AuditTrail {
    static func check(_ journal: any Journal) async throws(JournalError) -> AuditChain.Checker {
        var checker = AuditChain.Checker()
        var last: Int64 = 0
        while checker.broken == nil {
            let page = try await journal.auditEntries(of: nil, after: last, limit: 1000)
            guard let newest = page.last else { break }
            for entry in page { checker.add(entry) }
            last = newest.sequence
        }
        return checker
    }
}
