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

        package init(sequence: Int64, problem: String) {
            self.sequence = sequence
            self.problem = problem
        }
    }

    /// Checks entries that follow each other from the very first; the first break, or `nil` when the chain is whole.
    package static func firstBreak(in entries: some Sequence<AuditEntry>) -> Break? {
        var checker = Checker()
        for entry in entries { checker.add(entry) }
        return checker.broken
    }
}

extension AuditChain {
    /// Checks a chain entry by entry, in the order in which they are found, so that it need not be in memory as a whole.
    ///
    /// After a break it goes on with what is found, so that all breaks are told, and each of them once.
    package struct Checker: Sendable {
        /// No more breaks than these are told.
        package static let mostBreaks = 20
        /// No entry has a larger number, so that one more can always be counted.
        package static let largest: Int64 = 1 << 60
        /// How far an entry that was moved is looked for.
        private static let farthestMove: Int64 = 1000

        /// The number before the first entry.
        package let after: Int64
        /// Entries before the first break.
        package private(set) var count: Int64 = 0
        /// The hash of the last of them.
        package private(set) var head: String
        package private(set) var breaks: [Break] = []
        /// The number of the last entry that was found in its place.
        package private(set) var last: Int64

        /// What the next entry may follow; `nil` when nothing is known about it.
        private var heads: Set<String>?
        /// Entries that were passed over, by the place of their break.
        private var passedOver: [(range: ClosedRange<Int64>, place: Int)] = []

        /// - Parameters:
        ///   - after: the number of the entry before the first one.
        ///   - hash: the hash of that entry.
        package init(after: Int64 = 0, hash: String = AuditChain.start) {
            self.after = after
            last = after
            head = hash
            heads = [hash]
        }

        /// The first place where the chain is broken.
        package var broken: Break? { breaks.first }
        private var isFull: Bool { breaks.count >= Self.mostBreaks }

        package mutating func add(_ entry: KeptEntry) {
            switch entry {
            case .entry(let entry): add(entry)
            case .damaged(let sequence):
                guard isInPlace(sequence) else { return }
                report(sequence, "entry \(sequence) was changed after it was written: it can't be read any more")
                last = sequence
                heads = nil
            }
        }

        package mutating func add(_ entry: AuditEntry) {
            guard isInPlace(entry.sequence) else { return }
            let number = entry.sequence
            let follows = heads?.contains(entry.previousHash) ?? true
            let hash = AuditChain.digest(sequence: number, event: entry.event, previousHash: entry.previousHash)
            last = number
            heads = [entry.hash, hash]
            switch (follows, hash == entry.hash) {
            case (true, true):
                guard breaks.isEmpty else { return }
                head = entry.hash
                count += 1
            case (false, true):
                report(number, "entry \(number) does not follow entry \(number - 1): one of the two was rewritten")
            case (_, false):
                guard let home = home(of: entry) else {
                    return report(number, "entry \(number) was changed after it was written")
                }
                report(number, "entry \(number) was replaced by what was written as entry \(home)")
                heads = nil
            }
        }

        /// Looks at the number alone. What follows may be looked at when it is the next one, or one beyond a gap.
        private mutating func isInPlace(_ number: Int64) -> Bool {
            guard !isFull else {
                last = max(last, min(number, Self.largest))
                return false
            }
            let expected = last + 1
            if number == expected { return true }
            guard number <= Self.largest else {
                report(expected, "entry \(number) was put in: no trail is that long")
                return false
            }
            guard number < expected else {
                let gap = expected...(number - 1)
                passedOver.append((gap, breaks.count))
                report(
                    expected,
                    gap.count == 1
                        ? "entry \(expected) is missing; the next one found is \(number)"
                        : "entry \(expected) is missing, and all up to \(number - 1); the next one found is \(number)")
                heads = nil
                return !isFull
            }
            if let index = passedOver.firstIndex(where: { $0.range.contains(number) }) {
                let (range, place) = passedOver[index]
                let problem = "entry \(number) was moved: it stands behind entry \(last)"
                if range.count == 1 {
                    breaks[place] = Break(sequence: number, problem: problem)
                } else {
                    report(number, problem)
                }
            } else if number > after {
                report(number, "entry \(number) is there again, behind entry \(last)")
            } else {
                report(number, "entry \(number) was put in: the trail begins with entry \(after + 1)")
            }
            return false
        }

        private mutating func report(_ sequence: Int64, _ problem: String) {
            breaks.append(Break(sequence: sequence, problem: problem))
        }

        /// The number under which an entry's hash is right.
        private func home(of entry: AuditEntry) -> Int64? {
            (1...Self.farthestMove).lazy.flatMap { [entry.sequence + $0, entry.sequence - $0] }.first { number in
                AuditChain.digest(sequence: number, event: entry.event, previousHash: entry.previousHash) == entry.hash
            }
        }
    }
}
