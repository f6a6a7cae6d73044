import KeyturnCore
import KeyturnStore
import TestSupport
import Testing

@Suite("The contract of journals")
struct JournalContractTests {
    @Test(arguments: JournalContract.checks)
    func theOneInMemoryKeepsIt(check: ContractCheck<any Journal>) async throws {
        try await check.run(MemoryJournal())
    }

    @Test(arguments: JournalContract.checks)
    func theOneInSQLiteKeepsIt(check: ContractCheck<any Journal>) async throws {
        let folder = try StoreFolder()
        try await check.run(try SQLiteJournal(path: folder.state))
    }
}
