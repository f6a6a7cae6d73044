import Foundation
import KeyturnCore
import KeyturnSystem

/// Temporary files of ours that a crash in the middle of a write left behind.
struct LeftoversCheck: DoctorCheck {
    static let section = DoctorSection.leftovers

    private let context: DoctorContext
    private let composition: Composition

    init(_ context: DoctorContext, _ composition: Composition) {
        self.context = context
        self.composition = composition
    }

    /// A younger file may be being written just now, in seconds.
    private static let leastAge = 60.0

    func findings() async -> [DoctorFinding] {
        let folders = FileFolders.vaults(composition) + FileFolders.files(composition)
        return folders.flatMap(FileFolders.contents).compactMap(finding)
    }

    private func finding(_ path: String) -> DoctorFinding? {
        let name = path.split(separator: "/").last ?? ""
        guard name.hasPrefix(AtomicFile.temporaryPrefix), let file = FileFacts(path), file.belongsToUs,
            context.now.timeIntervalSince(file.changedAt) > Self.leastAge
        else { return nil }
        return DoctorFinding(
            .leftovers, .warning, "\(path) was left behind in the middle of a write", mend: "rm \(path)"
        ) {
            try AtomicFile.remove(path)
            return "\(path) is removed"
        }
    }
}
