import Foundation
import GRDB
import KeyturnCore

extension JournalError {
    /// Sorts a failure of the database. Its text names the file, and holds neither statements nor values.
    init(wrapping error: any Error, at path: String) {
        if let known = error as? JournalError {
            self = if case .damaged(let detail) = known { .damaged("\(path): \(detail)") } else { known }
            return
        }
        if error is InvalidSecretName || error is RowDecodingError {
            self = .damaged("\(path): what stands there is none of ours")
            return
        }
        guard let failure = error as? DatabaseError else {
            let cocoa = error as? CocoaError
            self =
                switch cocoa?.code {
                case .fileWriteNoPermission, .fileReadNoPermission: .permission("the folder of \(path) can't be made")
                case .fileWriteOutOfSpace: .full("the folder of \(path) can't be made")
                default: .failed("\(path): \(cocoa.map { "\($0.code)" } ?? String(describing: type(of: error)))")
                }
            return
        }
        let words = "\(path): SQLite: \(failure.message ?? failure.resultCode.description)"
        self =
            switch failure.resultCode.primaryResultCode {
            case .SQLITE_FULL: .full(words)
            case .SQLITE_BUSY, .SQLITE_LOCKED: .locked(words)
            case .SQLITE_CORRUPT, .SQLITE_NOTADB, .SQLITE_FORMAT: .damaged(words)
            // Our statements fit the schema and what they have written: where they do not, that is another one.
            case .SQLITE_ERROR, .SQLITE_MISMATCH: .damaged(words)
            case .SQLITE_CONSTRAINT where failure.extendedResultCode != .SQLITE_CONSTRAINT_TRIGGER: .damaged(words)
            case .SQLITE_PERM, .SQLITE_CANTOPEN, .SQLITE_READONLY, .SQLITE_AUTH: .permission(words)
            default: .failed(words)
            }
    }
}
