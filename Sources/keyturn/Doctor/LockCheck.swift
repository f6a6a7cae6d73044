import Foundation
import KeyturnCore
import KeyturnPolicy
import KeyturnStore

#if canImport(Glibc)
    import Glibc
#endif

/// Which process holds the state, and what a dead one left claimed.
struct LockCheck: DoctorCheck {
    static let section = DoctorSection.lock

    private let context: DoctorContext
    private let composition: Composition

    init(_ context: DoctorContext, _ composition: Composition) {
        self.context = context
        self.composition = composition
    }

    func findings() async -> [DoctorFinding] {
        let path = composition.configuration.statePath
        guard !path.isEmpty else { return [] }
        let holder = InstanceLock.holder(statePath: path)
        var findings = [
            DoctorFinding(
                .lock, .note,
                holder.map { "\($0) drives the rotations" } ?? "no process drives rotations at this moment")
        ]
        guard let journal = context.journal else { return findings }
        do throws(JournalError) {
            let stale = try await journal.leases().filter { isStale($0) }
            for lease in stale { findings.append(finding(lease)) }
        } catch {
            findings.append(DoctorFinding(.lock, .error, error.description, mend: "keyturn doctor"))
        }
        return findings
    }

    private func finding(_ lease: HeldLease) -> DoctorFinding {
        let composition = composition
        return DoctorFinding(
            .lock, .warning,
            "\(lease.secret) is claimed since \(TimeText.utc(lease.term.from.wall)) by \(lease.owner), which is gone",
            mend: "keyturn run --once", secret: lease.secret.text
        ) {
            try await composition.writeJournal().release([lease])
            return "the claim of \(lease.owner) on \(lease.secret) is released"
        }
    }

    /// Whether its owner is dead: a process of this machine that is not there, or a claim of another whose time is over.
    private func isStale(_ lease: HeldLease) -> Bool {
        let parts = lease.owner.split(separator: ":")
        let process = parts.last?.split(separator: "/").first.flatMap { pid_t($0) }
        guard parts.count == 2, parts[0] == ProcessInfo.processInfo.hostName, let process else {
            return lease.term.isOver(at: SystemTimekeeper().reading())
        }
        return kill(process, 0) != 0 && errno == ESRCH
    }
}
