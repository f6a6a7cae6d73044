import Foundation
import KeyturnCore
import KeyturnStore
import KeyturnSystem

/// Where an audit trail is read from.
protocol AuditTrailSource {
    /// Where it begins, and whose it is; `nil` when nothing says.
    func start() throws -> (start: AuditLine.Start?, instance: String?)
    /// Hands over all entries in the order in which they lie there, and what is wrong with the form.
    func entries(_ take: (KeptEntry) -> Void, problem: (String, Int64) -> Void) async throws
    /// Hands over the checkpoints that lie with them; `nil` for one that can't be read.
    func checkpoints(_ take: (KeptCheckpoint) async throws -> Void) async throws
    /// The hashes that the entries have now.
    func hashes(of sequences: [Int64]) async throws -> [Int64: String]
    /// Which of the checkpoints lie with the entries; `nil` when that says nothing.
    func holds(_ checkpoints: [AuditCheckpoint]) async throws -> [Bool]?
}

/// Reads a trail once for its entries and once for its checkpoints, so that neither need be in memory.
struct AuditTrailCheck {
    let trail: any AuditTrailSource
    let trusted: [AuditPublicKey]
    let checkpointFile: String?

    /// Checkpoints that are looked at together.
    private static let batch = 5_000

    func run() async throws -> AuditVerification {
        let (start, instance) = try trail.start()
        var verification = AuditVerification(start: start, trusted: trusted, instance: instance)
        try await trail.entries {
            verification.add($0)
        } problem: {
            verification.add(problem: $0, at: $1)
        }
        var batch: [AuditCheckpoint] = []
        try await trail.checkpoints { kept in
            guard let checkpoint = kept.checkpoint else {
                return verification.add(
                    problem: "the checkpoint over entry \(kept.place.sequence) can't be read any more: it was changed",
                    at: kept.place.sequence)
            }
            batch.append(checkpoint)
            if batch.count == Self.batch {
                try await hold(batch, against: &verification)
                batch = []
            }
        }
        try await hold(batch, against: &verification)
        if let checkpointFile { try await readFile(checkpointFile, &verification) }
        return verification
    }

    private func hold(
        _ batch: [AuditCheckpoint], against verification: inout AuditVerification, further: [Bool]? = nil
    ) async throws {
        guard !batch.isEmpty else { return }
        let hashes = try await trail.hashes(of: batch.map(\.sequence))
        for (index, checkpoint) in batch.enumerated() {
            verification.add(
                checkpoint, hash: hashes[checkpoint.sequence], isFurther: further.map { $0[index] } ?? true)
        }
    }

    private func readFile(_ path: String, _ verification: inout AuditVerification) async throws {
        let lines = try LineFile(path)
        var batch: [AuditCheckpoint] = []
        while let line = try lines.next() {
            if case .checkpoint(let checkpoint) = AuditLine(line.text), line.isWhole {
                batch.append(checkpoint)
            } else if line.isWhole, line.text.hasSuffix("}") {
                verification.add(
                    problem: "line \(line.number) of the checkpoint file was changed: it is no checkpoint", at: 0)
            }
            // Anything else is what a crash left of a line.
            if batch.count == Self.batch {
                try await compare(batch, &verification)
                batch = []
            }
        }
        try await compare(batch, &verification)
    }

    private func compare(_ batch: [AuditCheckpoint], _ verification: inout AuditVerification) async throws {
        let held = try await trail.holds(batch)
        try await hold(batch, against: &verification, further: held.map { $0.map { !$0 } })
        guard let held else { return }
        for (checkpoint, isHeld) in zip(batch, held) where !isHeld && checkpoint.isAuthentic {
            verification.add(
                problem: "the checkpoint of \(AuditTime.text(checkpoint.at)) over entry \(checkpoint.sequence) was"
                    + " removed from the state; the checkpoint file has it", at: checkpoint.sequence)
        }
    }
}

/// The trail in the state.
struct KeptTrail: AuditTrailSource {
    /// `nil` when there is no state yet.
    private let journal: SQLiteJournal?
    private let instance: String?

    init(journal: SQLiteJournal?) async throws {
        self.journal = journal
        instance = try await journal?.installation().instance
    }

    func start() -> (start: AuditLine.Start?, instance: String?) { (nil, instance) }

    func entries(_ take: (KeptEntry) -> Void, problem: (String, Int64) -> Void) async throws {
        var last = Int64.min
        while let journal {
            let page = try await journal.auditTrail(after: last, limit: 1000)
            guard let newest = page.last else { return }
            last = newest.sequence
            for entry in page { take(entry) }
        }
    }

    func checkpoints(_ take: (KeptCheckpoint) async throws -> Void) async throws {
        var place: CheckpointPlace?
        while let journal {
            let page = try await journal.checkpoints(after: place, limit: 1000)
            guard let newest = page.last else { return }
            place = newest.place
            for checkpoint in page { try await take(checkpoint) }
        }
    }

    func hashes(of sequences: [Int64]) async throws -> [Int64: String] {
        try await journal?.auditHashes(of: sequences) ?? [:]
    }

    func holds(_ checkpoints: [AuditCheckpoint]) async throws -> [Bool]? {
        guard let journal else { return checkpoints.map { _ in false } }
        var held: [Bool] = []
        for checkpoint in checkpoints {
            let place = CheckpointPlace(sequence: checkpoint.sequence, key: "")
            let there = try await journal.checkpoints(after: place, limit: 8)
            held.append(there.contains { $0.checkpoint == checkpoint })
        }
        return held
    }
}

/// The trail in an export.
struct ExportedTrail: AuditTrailSource {
    let path: String

    func start() throws -> (start: AuditLine.Start?, instance: String?) {
        guard let first = try LineFile(path).next(), case .trail(let start) = AuditLine(first.text) else {
            throw CommandFailure(
                .failed, "\(path) is not an export of an audit trail: its first line is not that of one",
                advice: "`keyturn audit export` writes one")
        }
        return (start, start.instance)
    }

    func entries(_ take: (KeptEntry) -> Void, problem: (String, Int64) -> Void) async throws {
        let lines = try LineFile(path)
        var count: Int64 = 0
        var last: Int64 = 0
        var end: Int64?
        while let line = try lines.next() {
            if end != nil {
                problem("line \(line.number) stands behind the end of the export", last)
                continue
            }
            switch line.isWhole ? AuditLine(line.text) : nil {
            case .entry(let entry):
                take(.entry(entry))
                count += 1
                last = entry.sequence
            case .end(let entries): end = entries
            case .checkpoint: break
            case .trail: if line.number > 1 { problem("line \(line.number) begins a second export", last) }
            case nil:
                problem("line \(line.number), behind entry \(last), is not as it was exported: it was changed", last)
            }
        }
        guard let end else {
            return problem("the export is cut off behind entry \(last): it has no last line", last)
        }
        if end != count { problem("the export had \(end) entries; \(count) are left", last) }
    }

    func checkpoints(_ take: (KeptCheckpoint) async throws -> Void) async throws {
        let lines = try LineFile(path)
        while let line = try lines.next() {
            guard case .checkpoint(let checkpoint) = AuditLine(line.text) else { continue }
            let place = CheckpointPlace(sequence: checkpoint.sequence, key: "\(checkpoint.key)")
            try await take(KeptCheckpoint(place: place, checkpoint: checkpoint))
        }
    }

    func hashes(of sequences: [Int64]) async throws -> [Int64: String] {
        let wanted = Set(sequences)
        var hashes: [Int64: String] = [:]
        let lines = try LineFile(path)
        while let line = try lines.next() {
            guard case .entry(let entry) = AuditLine(line.text), wanted.contains(entry.sequence) else { continue }
            hashes[entry.sequence] = entry.hash
        }
        return hashes
    }

    // An export that begins later, or was made earlier, need not have them.
    func holds(_ checkpoints: [AuditCheckpoint]) async throws -> [Bool]? { nil }
}
