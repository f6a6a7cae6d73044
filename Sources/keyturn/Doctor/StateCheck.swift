import Foundation
import KeyturnCore
import KeyturnPolicy
import KeyturnStore

/// Whether the state can be read whole, nobody changed the audit trail, and there is room to write.
struct StateCheck: DoctorCheck {
    static let section = DoctorSection.state

    private let context: DoctorContext
    private let composition: Composition

    init(_ context: DoctorContext, _ composition: Composition) {
        self.context = context
        self.composition = composition
    }

    /// A log of changes that is larger was not folded into the database for long.
    private static let largestLog: Int64 = 64 << 20
    /// Free space below which writing may fail soon, and below which it is worth a look, in bytes.
    private static let least: Int64 = 20 << 20
    private static let little: Int64 = 200 << 20

    func findings() async -> [DoctorFinding] {
        let path = composition.configuration.statePath
        guard !path.isEmpty else { return [] }
        var findings = await database(path)
        for folder in [path] + FileFolders.vaults(composition) { findings += room(folder) }
        return findings
    }

    private func database(_ path: String) async -> [DoctorFinding] {
        let inspection: StateInspection
        do throws(JournalError) {
            guard try SQLiteJournal.exists(at: path) else {
                return [DoctorFinding(.state, .note, "there is no state yet", mend: "keyturn run --once")]
            }
            inspection = try StateInspection(path: path)
        } catch { return [damaged(error.description)] }
        var findings = inspection.damages.prefix(5).map { damaged("the state is damaged: \($0)") }
        if let unknown = inspection.unknown {
            findings.append(
                DoctorFinding(
                    .state, .error, "the state was written by a newer Keyturn (it has '\(unknown)')",
                    mend: "install that version"))
        } else if let missing = inspection.missing {
            findings.append(
                DoctorFinding(
                    .state, .warning, "the state is that of an older Keyturn (it lacks '\(missing)')",
                    mend: "keyturn run --once"))
        }
        if inspection.logSize > Self.largestLog {
            findings.append(
                DoctorFinding(
                    .state, .warning, "the log of changes beside the state has \(inspection.logSize >> 20) MiB",
                    mend: "end what reads the state for long; the next start folds it in"))
        }
        // What the inspection itself did not see.
        if findings.isEmpty, let error = context.journalError { findings.append(damaged(error.description)) }
        guard let journal = context.journal else { return findings }
        do throws(JournalError) {
            _ = try await journal.records()
            if let broken = try await AuditTrail.check(journal).broken {
                findings.append(
                    DoctorFinding(
                        .state, .error, "the audit trail is broken: \(broken.problem)", mend: "keyturn audit verify"))
            }
        } catch { findings.append(damaged(error.description)) }
        return findings
    }

    private func damaged(_ sentence: String) -> DoctorFinding {
        DoctorFinding(.state, .error, sentence, mend: "restore the state from a backup")
    }

    private func room(_ path: String) -> [DoctorFinding] {
        guard let free = FreeSpace.around(path), free < Self.little else { return [] }
        return [
            DoctorFinding(
                .state, free < Self.least ? .error : .warning, "only \(free >> 20) MiB are free for \(path)",
                mend: "free some space")
        ]
    }
}
