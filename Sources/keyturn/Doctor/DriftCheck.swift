import KeyturnCore
import KeyturnEngine

/// What `keyturn drift` finds.
struct DriftCheck: DoctorCheck {
    static let section = DoctorSection.drift

    private let context: DoctorContext
    private let composition: Composition

    init(_ context: DoctorContext, _ composition: Composition) {
        self.context = context
        self.composition = composition
    }

    func findings() async -> [DoctorFinding] {
        // Without the identity there is nothing to compare with, and without the state nothing to compare.
        guard context.journal != nil, context.identityError == nil else { return [] }
        do {
            guard let running = try await composition.observer() else { return [] }
            defer { running.close() }
            return try await running.engine.drift().findings.map(finding)
        } catch {
            return [DoctorFinding(.drift, .error, "drift can't be looked for: \(error)", mend: "keyturn drift")]
        }
    }

    private func finding(_ found: DriftFinding) -> DoctorFinding {
        let severity: DoctorFinding.Severity =
            switch found.weight {
            case .drift: .error
            case .notAsked: .warning
            case .note: .note
            }
        let isUnreachable = found.error.map { CommandFailure($0).status == .unavailable } ?? false
        return DoctorFinding(
            .drift, severity, "\(found.secret): \(found.sentence)", mend: found.mend, secret: found.secret.text,
            status: found.weight == .notAsked && isUnreachable ? .unavailable : nil)
    }
}
