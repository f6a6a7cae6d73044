import Foundation
import KeyturnCore
import KeyturnEngine
import KeyturnStore

/// Keys that nobody uses: those that the journal waits for, and those that issuers list with our mark.
struct OrphansCheck: DoctorCheck {
    static let section = DoctorSection.orphans

    private let context: DoctorContext
    private let composition: Composition

    init(_ context: DoctorContext, _ composition: Composition) {
        self.context = context
        self.composition = composition
    }

    func findings() async -> [DoctorFinding] {
        guard let journal = context.journal else { return [] }
        do throws(JournalError) {
            let orphans = try await journal.orphans().filter { $0.state != .closed }
            return orphans.map(finding) + (try await unknownKeys(journal, orphans))
        } catch { return [DoctorFinding(.orphans, .error, error.description, mend: "keyturn doctor")] }
    }

    private func finding(_ orphan: OrphanRecord) -> DoctorFinding {
        guard let until = orphan.until, until <= context.now else {
            return DoctorFinding(
                .orphans, .warning, orphan.sentence, mend: "keyturn orphans revoke \(orphan.id) --key-id KEY",
                secret: orphan.secret.text)
        }
        let composition = composition
        return DoctorFinding(
            .orphans, .note, "\(orphan.id) ended at \(TimeText.utc(until)) and is open in the state still",
            mend: "keyturn doctor --fix", secret: orphan.secret.text
        ) {
            var closed = orphan
            closed.state = .closed
            try await OrphanChoice.close(closed, "orphan.ended", [:], try composition.writeJournal())
            return "\(orphan.id) is closed"
        }
    }

    /// One question to an issuer, for all secrets whose keys it lists together.
    private struct Question: Hashable {
        let issuer: String
        let parameters: Parameters
    }

    private func unknownKeys(
        _ journal: SQLiteJournal, _ orphans: [OrphanRecord]
    ) async throws(JournalError) -> [DoctorFinding] {
        let records = try await journal.records()
        var questions = Set(composition.policies.map { Question(issuer: $0.issuer, parameters: $0.issue) })
        for version in records.flatMap(\.versions) where version.stage.mayExistAtIssuer {
            questions.insert(Question(issuer: version.issuer, parameters: version.issueParameters))
        }
        let services: SystemsInUse
        do throws(CommandFailure) { services = try SystemsInUse(context, composition) } catch {
            return [DoctorFinding(.orphans, .error, error.message, mend: error.advice)]
        }
        defer { services.finish() }
        var findings: [DoctorFinding] = []
        var told: Set<String> = []
        for question in questions {
            guard let issuer = services.workplace.issuers[question.issuer] as? any ListsKeys,
                issuer.traits.kind == .listable
            else { continue }
            // One that does not answer is among the systems.
            let keys: [ListedKey]
            do throws(SystemError) { keys = try await issuer.keys(for: question.parameters) } catch { continue }
            for key in keys {
                guard let lineage = key.lineage, told.insert("\(question.issuer) \(key.keyID)").inserted,
                    let sentence = Self.judge(key, lineage, records, orphans)
                else { continue }
                findings.append(
                    DoctorFinding(
                        .orphans, .warning,
                        "issuer '\(question.issuer)' has key \(key.keyID) of \(lineage.secret), \(sentence)",
                        mend: "keyturn orphans revoke \(lineage) --key-id \(key.keyID)", secret: lineage.secret.text))
            }
        }
        return findings.sorted { $0.sentence < $1.sentence }
    }

    /// What is wrong with a key that carries our mark; `nil` when it is in its place, or on its way.
    static func judge(
        _ key: ListedKey, _ lineage: Lineage, _ records: [SecretRecord], _ orphans: [OrphanRecord]
    ) -> String? {
        let record = records.first { $0.name == lineage.secret }
        if let version = record?.versions.first(where: { $0.keyID == key.keyID }) {
            return version.stage.mayExistAtIssuer
                ? nil : "whose version \(version.number) is \(version.stage.rawValue) in the state"
        }
        if record?.rotation?.issueIntent?.nonce == lineage.nonce { return nil }
        if orphans.contains(where: { $0.id == lineage.description }) { return nil }
        return "which carries our mark and which the state does not know"
    }
}
