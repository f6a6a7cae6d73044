import Foundation

/// Holds an audit trail against its hash chain and its checkpoints, one entry and one checkpoint at a time.
///
/// First all entries are added, then checkpoints in any order, each with the hash that its entry has now.
package struct AuditVerification: Sendable {
    package private(set) var chain: AuditChain.Checker
    /// Checkpoints that fit.
    package private(set) var checkpoints = 0
    /// The newest of them.
    package private(set) var newest: AuditCheckpoint?
    /// Who signed them.
    package private(set) var keys: Set<AuditPublicKey> = []

    private let trusted: [AuditPublicKey]
    private let instance: String?
    private var problems: [AuditChain.Break] = []
    /// The checkpoint that covers most of what is no longer there.
    private var lost: AuditCheckpoint?
    /// The first checkpoint that something was rewritten before.
    private var rewritten: AuditCheckpoint?

    /// - Parameters:
    ///   - start: where the trail begins; its first entry when absent.
    ///   - trusted: keys that may have signed; any when there is none.
    ///   - instance: the installation; any when absent.
    package init(start: AuditLine.Start? = nil, trusted: [AuditPublicKey], instance: String?) {
        chain = start.map { AuditChain.Checker(after: $0.after, hash: $0.hash) } ?? AuditChain.Checker()
        self.trusted = trusted
        self.instance = instance
    }

    package mutating func add(_ entry: KeptEntry) { chain.add(entry) }

    /// Something wrong with the form of what is read.
    package mutating func add(problem: String, at sequence: Int64) {
        guard problems.count < AuditChain.Checker.mostBreaks else { return }
        problems.append(AuditChain.Break(sequence: sequence, problem: problem))
    }

    /// - Parameters:
    ///   - hash: of the entry that the checkpoint covers, as it lies there now; `nil` when it is not there.
    ///   - isFurther: whether it is none that was added before.
    package mutating func add(_ checkpoint: AuditCheckpoint, hash: String?, isFurther: Bool = true) {
        let name = Self.name(checkpoint)
        guard checkpoint.isAuthentic else {
            return add(
                problem: "\(name) was changed, or forged: its signature is not that of \(checkpoint.key)",
                at: checkpoint.sequence)
        }
        guard trusted.isEmpty || trusted.contains(checkpoint.key) else {
            return add(problem: "\(name) was signed by another key, \(checkpoint.key)", at: checkpoint.sequence)
        }
        guard instance == nil || checkpoint.instance == instance else {
            return add(
                problem: "\(name) is that of another installation, \(checkpoint.instance)", at: checkpoint.sequence)
        }
        // Nothing is known of what lies before an export that begins later.
        guard checkpoint.sequence > chain.after else { return }
        if checkpoint.sequence > chain.last {
            if checkpoint.entries > lost?.entries ?? 0 { lost = checkpoint }
        } else if hash != checkpoint.head {
            // Of a missing entry the chain tells already.
            if hash != nil, checkpoint.sequence < rewritten?.sequence ?? .max { rewritten = checkpoint }
        } else {
            if isFurther { checkpoints += 1 }
            keys.insert(checkpoint.key)
            if checkpoint.sequence >= newest?.sequence ?? 0 { newest = checkpoint }
        }
    }

    /// Everything that is wrong, in the order of the entries.
    package var findings: [AuditChain.Break] {
        var all = chain.breaks + problems
        if let lost {
            let left = chain.last
            all.append(
                AuditChain.Break(
                    sequence: left + 1,
                    problem: "the trail is cut off: \(Self.name(lost)) says there were \(lost.entries) entries;"
                        + " \(left) are left"))
        }
        if let rewritten {
            all.append(
                AuditChain.Break(
                    sequence: rewritten.sequence,
                    problem: "\(Self.name(rewritten)) has another hash: entry \(rewritten.sequence), or one before it,"
                        + " was rewritten after that"))
        }
        return all.enumerated().sorted { ($0.element.sequence, $0.offset) < ($1.element.sequence, $1.offset) }
            .map(\.element)
    }

    /// Entries that no checkpoint covers yet: nothing but the chain speaks for them.
    package var uncovered: ClosedRange<Int64>? {
        let first = max(newest?.sequence ?? 0, chain.after) + 1
        return first <= chain.last ? first...chain.last : nil
    }

    private static func name(_ checkpoint: AuditCheckpoint) -> String {
        "the checkpoint of \(AuditTime.text(checkpoint.at)) over entry \(checkpoint.sequence)"
    }
}
