import Foundation
import KeyturnCore
import KeyturnPolicy
import KeyturnStore

/// Alerts that wait to be delivered.
struct AlertsCheck: DoctorCheck {
    static let section = DoctorSection.alerts

    private let context: DoctorContext
    private let composition: Composition

    init(_ context: DoctorContext, _ composition: Composition) {
        self.context = context
        self.composition = composition
    }

    /// How long an alert may wait before it is worth a look, in seconds.
    private static let patience = 600.0

    func findings() async -> [DoctorFinding] {
        guard let journal = context.journal else { return [] }
        do throws(JournalError) {
            let waiting = try await journal.dueAlerts(at: .distantFuture, limit: 10_000)
            return Dictionary(grouping: waiting, by: \.sink).sorted { $0.key < $1.key }.compactMap(finding)
        } catch { return [DoctorFinding(.alerts, .error, error.description, mend: "keyturn doctor")] }
    }

    private func finding(_ sink: String, _ alerts: [QueuedAlert]) -> DoctorFinding? {
        guard let oldest = alerts.map(\.event.occurredAt).min() else { return nil }
        let count = "\(alerts.count) alert\(alerts.count == 1 ? "" : "s")"
        let verb = alerts.count == 1 ? "waits" : "wait"
        guard composition.configuration.alerts[sink] != nil else {
            return DoctorFinding(
                .alerts, .warning, "\(count) \(verb) for sink '\(sink)', which is not configured",
                mend: "put the sink back into keyturn.yaml, or let the next pass drop them: keyturn run --once")
        }
        let isStuck =
            context.now.timeIntervalSince(oldest) > Self.patience || alerts.contains { $0.attempts > 0 }
        return DoctorFinding(
            .alerts, isStuck ? .warning : .note, "\(count) \(verb) for sink '\(sink)' since \(TimeText.utc(oldest))",
            mend: isStuck ? "keyturn validate --online" : "keyturn run --once")
    }
}
