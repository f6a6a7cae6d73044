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
        var checker = Checker()
        for entry in entries { checker.add(entry) }
        return checker.broken
    }

    /// Checks a chain entry by entry, so that it need not be in memory as a whole.
    package struct Checker: Sendable {
        /// Entries that follow each other as they should.
        package private(set) var count: Int64 = 0
        /// The hash of the last of them.
        package private(set) var head = AuditChain.start
        /// The first place where the chain is broken; what follows is not looked at.
        package private(set) var broken: Break?

        package init() {}

        package mutating func add(_ entry: AuditEntry) {
            guard broken == nil else { return }
            let expected = count + 1
            guard entry.sequence == expected else {
                broken = Break(
                    sequence: expected,
                    problem: "entry \(expected) is missing; the next one found is \(entry.sequence)")
                return
            }
            guard entry.previousHash == head else {
                broken = Break(
                    sequence: expected, problem: "entry \(expected) does not follow entry \(expected - 1)")
                return
            }
            let hash = digest(sequence: entry.sequence, event: entry.event, previousHash: entry.previousHash)
            guard hash == entry.hash else {
                broken = Break(
                    sequence: expected, problem: "entry \(expected) was changed after it was written")
                return
            }
            head = entry.hash
            count = expected
        }
    }
}
