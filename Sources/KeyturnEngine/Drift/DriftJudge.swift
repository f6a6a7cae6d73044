import Foundation
import KeyturnCore

/// Judges one place from what its backend answered.
struct DriftJudge {
    let core: EngineCore
    let workplace: Workplace
    let record: SecretRecord
    let current: VersionRecord
    let place: VersionRecord.StoredBackend

    private var writing: VersionWriting { VersionWriting(core: core, workplace: workplace, secret: record.name) }
    private var name: String { place.target.backend }

    func findings(
        _ stored: StoredValue?, _ listed: [ListedVersion], destroys: Bool
    ) throws(SystemError) -> [DriftFinding] {
        var findings: [DriftFinding] = []
        let isRight = try stored.map { (stored) throws(SystemError) in try isAwaited(stored.value) } ?? false
        let other = listed.first(where: \.isCurrent).flatMap(number).flatMap { awaited.contains($0) ? nil : $0 }
        if let other {
            findings.append(
                finding(
                    .currentDisagrees,
                    "version \(other) is current there, and the journal says version \(current.number)",
                    mend: repair))
        } else if stored == nil {
            findings.append(finding(.valueMissing, "it holds no value", mend: repair))
        } else if !isRight {
            findings.append(finding(.valueDiffers, "its value is not the one that was promoted", mend: repair))
        }
        for version in listed {
            if let finding = leftover(version, destroys: destroys) { findings.append(finding) }
        }
        return findings
    }

    func notReadable() -> DriftFinding {
        finding(.notReadable, "it can't be read back, so that drift is not noticed there", mend: "")
    }

    func notAsked(_ error: SystemError) -> DriftFinding {
        // An answer that stays wrong is what lies there.
        if error.code == .badAnswer, error.disposition == .permanent {
            return finding(.valueDiffers, "its value can't be read: \(error.message)", mend: repair, error: error)
        }
        return finding(
            .notAsked, "it could not be asked: \(error.message)",
            mend: error.advice.isEmpty ? "keyturn validate --online" : error.advice, error: error)
    }

    private var repair: String { "keyturn drift --repair \(record.name)" }

    /// Versions that consumers may get here at this moment: the current one, and one that is being promoted.
    private var awaited: [Int] {
        guard let rotation = record.rotation, rotation.version != current.number,
            let progress = rotation.machine.progress(of: name)?.progress,
            progress == .promoting || progress == .promoted
        else { return [current.number] }
        return [current.number, rotation.version]
    }

    private func isAwaited(_ value: SecretValue) throws(SystemError) -> Bool {
        for number in awaited {
            guard let version = record.version(number),
                let there = version.backends.first(where: { $0.target.isSamePlace(as: place.target) })
            else { continue }
            if value.matches(try writing.rendered(version, for: there)) { return true }
        }
        return false
    }

    /// Our number for a version: from the marks beside it, from what a step answered, or from the name that its
    /// idempotency key gave it.
    private func number(_ listed: ListedVersion) -> Int? {
        if let version = listed.version { return version }
        guard !listed.receipt.isEmpty else { return nil }
        let answered = record.versions.first { version in
            version.backends.contains { $0.target.isSamePlace(as: place.target) && holds($0.receipt, listed.receipt) }
        }
        if let answered { return answered.number }
        return (1..<max(2, record.nextNumber)).first { number in
            listed.identifier
                == IdempotencyKey.uuid(
                    instance: core.installation.instance, secret: record.name, version: number)
        }
    }

    private func holds(_ receipt: Receipt, _ part: Receipt) -> Bool { part.allSatisfy { receipt[$0.key] == $0.value } }

    /// What lies there without a reason.
    private func leftover(_ listed: ListedVersion, destroys: Bool) -> DriftFinding? {
        let number = number(listed)
        if let number, number == record.rotation?.version, number != current.number { return nil }
        guard let number else {
            guard listed.isPending else { return nil }
            return finding(
                .pendingLeft, "a pending version lies there that no rotation of this state made",
                mend: "see who made it, and take its label away there")
        }
        if let version = record.version(number) {
            let isOver = version.stage == .retired || version.stage == .abandoned
            let isPending = listed.isPending || version.stage == .abandoned
            guard !listed.isCurrent || isPending, (isOver && destroys) || listed.isPending else { return nil }
            let reference = VersionReference(
                secret: record.name, version: number,
                receipt: listed.receipt.merging(
                    version.backends.first { $0.target.isSamePlace(as: place.target) }?.receipt ?? [:]
                ) { first, _ in first }, value: nil)
            return finding(
                isPending ? .pendingLeft : .notPruned,
                isPending
                    ? "version \(number) lies there as pending, and no rotation will make it current"
                    : "version \(number) is retired and lies there still", mend: repair,
                leftover: DriftFinding.Leftover(reference: reference, isPending: isPending))
        }
        guard !listed.isCurrent else { return nil }
        return finding(
            .unknownVersion, "version \(number) lies there, and the journal does not know it",
            mend: "see whether the state was restored from a backup: keyturn history \(record.name)")
    }

    private func finding(
        _ kind: DriftFinding.Kind, _ sentence: String, mend: String, error: SystemError? = nil,
        leftover: DriftFinding.Leftover? = nil
    ) -> DriftFinding {
        DriftFinding(
            kind, of: record.name, version: current.number, at: place.target, "backend '\(name)': \(sentence)",
            mend: mend, error: error, leftover: leftover)
    }
}
