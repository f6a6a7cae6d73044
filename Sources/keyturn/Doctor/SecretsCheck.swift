import Foundation
import KeyturnCore

/// Secrets that need a person, or soon will.
struct SecretsCheck: DoctorCheck {
    static let section = DoctorSection.secrets

    private let context: DoctorContext
    private let composition: Composition

    init(_ context: DoctorContext, _ composition: Composition) {
        self.context = context
        self.composition = composition
    }

    /// How long after its time the end of an old version is overdue, in seconds.
    private static let patience = 3600.0

    func findings() async -> [DoctorFinding] {
        guard context.journal != nil else { return [] }
        do {
            return try await ReportRow.all(composition, at: context.now).sorted { $0.plan.secret < $1.plan.secret }
                .flatMap(findings)
        } catch { return [DoctorFinding(.secrets, .error, "\(error)", mend: "keyturn status")] }
    }

    private func findings(_ row: ReportRow) -> [DoctorFinding] {
        let name = row.plan.secret
        func finding(
            _ severity: DoctorFinding.Severity, _ sentence: String, mend: String, status: ExitStatus? = nil
        ) -> DoctorFinding {
            DoctorFinding(.secrets, severity, "\(name) \(sentence)", mend: mend, secret: name.text, status: status)
        }
        var findings: [DoctorFinding] = []
        if let quarantine = row.record?.quarantine {
            findings.append(
                finding(
                    .error, "is quarantined: \(quarantine.reason)", mend: "keyturn resume \(name)", status: .quarantined
                ))
        }
        if let since = row.record?.pausedSince {
            findings.append(
                finding(.note, "is paused since \(TimeText.utc(since))", mend: "keyturn resume \(name)"))
        }
        switch row.plan.state {
        case .expired:
            findings.append(finding(.error, "has expired: \(row.plan.sentence)", mend: "keyturn rotate \(name)"))
        case .overdue:
            findings.append(finding(.error, "is overdue: \(row.plan.sentence)", mend: "keyturn explain \(name)"))
        case .failing where row.record?.quarantine == nil:
            findings.append(finding(.warning, "is failing: \(row.plan.sentence)", mend: "keyturn status \(name)"))
        case .failing, .ok, .due, .neverExpires, .new: break
        }
        for unknown in row.unknown {
            findings.append(
                finding(
                    .warning, "waits: \(unknown.sentence(TimeText.utc))", mend: unknown.release ?? "keyturn run --once")
            )
        }
        guard !row.isHeld else { return findings }
        for version in row.record?.leaving ?? [] {
            let late = version.retireAt.map { context.now.timeIntervalSince($0) > Self.patience } ?? false
            guard late || version.retirement?.lastError != nil else { continue }
            let why = version.retirement?.lastError.map { ": \($0.message)" } ?? ""
            findings.append(
                finding(
                    .warning, "has version \(version.number) that should be retired\(why)",
                    mend: "keyturn explain \(name)"))
        }
        return findings
    }
}
