import GRDB
import KeyturnCore

extension Row {
    /// What lies in a column; `nil` when there is nothing. GRDB's own subscript ends the process where a damaged file holds
    /// another type than was written.
    ///
    /// - Throws: ``JournalError/damaged(_:)`` for a value of another type.
    func held<Value: DatabaseValueConvertible>(_ name: String) throws -> Value? {
        guard let stored = self[name] as DatabaseValue?, !stored.isNull else { return nil }
        guard let value = Value.fromDatabaseValue(stored) else {
            throw JournalError.damaged("the column \(name) holds what is none")
        }
        return value
    }
}
