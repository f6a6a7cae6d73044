/// Why the journal could not do what was asked.
package enum JournalError: Error, Sendable, Equatable {
    /// Written by a newer Keyturn.
    case newerSchema(found: String)
    /// Of an older Keyturn, or not made to its end; the next command that writes completes it.
    case incomplete(String)
    /// Another process holds it.
    case locked(String)
    /// Another process took over the secret.
    case leaseLost(SecretName)
    /// The disk is full.
    case full(String)
    /// Damaged or not a journal.
    case damaged(String)
    case permission(String)
    /// Anything else, in the database's words (no values: statements are never part of it).
    case failed(String)
}

extension JournalError {
    /// Whether what could not be written may be found written after a restart: the disk failed at its last step.
    package var mayHaveTakenEffect: Bool { if case .failed = self { true } else { false } }
}

extension JournalError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .newerSchema(let found):
            "the state was written by a newer Keyturn (\(found)); install that version or restore a backup made before it"
        case .incomplete(let path):
            "the state is of an older Keyturn or not complete yet (\(path)); run a command that writes, such as `keyturn run --once`"
        case .locked(let detail): "another process holds the state (\(detail)); wait for it or stop it"
        case .leaseLost(let secret): "another process took over \(secret); nothing was changed here"
        case .full(let detail): "the disk that holds the state is full (\(detail)); free some space, nothing was lost"
        case .damaged(let detail): "the state is damaged (\(detail)); restore it from a backup"
        case .permission(let detail): "no permission for the state (\(detail)); check owner and mode of its folder"
        case .failed(let detail): "the state could not be read or written: \(detail)"
        }
    }
}
