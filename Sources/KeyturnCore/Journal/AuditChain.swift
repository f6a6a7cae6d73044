import Crypto
import Foundation

/// The hash chain of the audit trail.
package enum AuditChain {
    /// What stands before the first entry.
    package static let start = String(repeating: "0", count: 64)

    /// Hexadecimal SHA-256 over a length-prefixed list of all members, so that no two entries share a form.
    package static func digest(sequence: Int64, event: AuditEvent, previousHash: String) -> String {
        var hash = SHA256()
        func add(_ text: String) {
            hash.update(data: Data("\(text.utf8.count):".utf8))
            hash.update(data: Data(text.utf8))
        }
        add(String(sequence))
        add(previousHash)
        add(String(Int64((event.at.timeIntervalSince1970 * 1000).rounded())))
        add(event.kind)
        add(event.secret?.text ?? "")
        add(event.version.map(String.init) ?? "")
        add(event.step ?? "")
        add(event.actor)
        for (name, value) in event.detail.sorted(by: { $0.key < $1.key }) {
            add(name)
            add(value)
        }
        return hash.finalize().hexadecimal
    }

    /// A place where the chain is broken.
    package struct Break: Sendable, Equatable {
        package let sequence: Int64
        package let problem: String
    }

    /// Checks entries that follow each other from the very first; the first break, or `nil` when the chain is whole.
    package static func firstBreak(in entries: some Sequence<AuditEntry>) -> Break? {
        var expected: Int64 = 1
        var previous = start
        for entry in entries {
            guard entry.sequence == expected else {
                return Break(
                    sequence: expected,
                    problem: "entry \(expected) is missing; the next one found is \(entry.sequence)")
            }
            guard entry.previousHash == previous else {
                return Break(sequence: expected, problem: "entry \(expected) does not follow entry \(expected - 1)")
            }
            let hash = digest(sequence: entry.sequence, event: entry.event, previousHash: entry.previousHash)
            guard hash == entry.hash else {
                return Break(sequence: expected, problem: "entry \(expected) was changed after it was written")
            }
            previous = entry.hash
            expected += 1
        }
        return nil
    }
}
