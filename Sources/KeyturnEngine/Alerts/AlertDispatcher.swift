import Foundation
import KeyturnCore
import Logging

/// Brings queued alerts to their sinks, at least once each.
struct AlertDispatcher: Sendable {
    let core: EngineCore

    /// How long an alert is tried before it is given up, in seconds.
    static let patience = 3 * 86_400.0

    /// Delivers what is due. One slow or dead sink does not hold up the others.
    ///
    /// - Returns: how many are still waiting that were due.
    func deliverDue(_ sinks: [String: any AlertSink]) async throws(JournalError) -> Int {
        let due = try await core.journal.dueAlerts(at: core.time.now(), limit: 256)
        let bySink = Dictionary(grouping: due, by: \.sink)
        let failed = await withTaskGroup(of: Result<Int, JournalError>.self) { group in
            for (name, alerts) in bySink {
                group.addTask {
                    do throws(JournalError) {
                        return .success(try await deliver(alerts, to: sinks[name], named: name))
                    } catch { return .failure(error) }
                }
            }
            var results: [Result<Int, JournalError>] = []
            for await result in group { results.append(result) }
            return results
        }
        var waiting = 0
        for result in failed { waiting += try result.get() }
        return waiting
    }

    private func deliver(
        _ alerts: [QueuedAlert], to sink: (any AlertSink)?, named name: String
    ) async throws(JournalError) -> Int {
        guard let sink else {
            for alert in alerts { try await core.journal.removeAlert(alert) }
            core.logger.warning(
                "alerts dropped: their sink is not configured any more",
                metadata: ["sink": "\(name)", "count": "\(alerts.count)"])
            return 0
        }
        for (index, alert) in alerts.enumerated() {
            do throws(SystemError) {
                try await sink.deliver(alert.event)
            } catch {
                try await fail(alert, with: error)
                // In order: what follows waits for its own turn.
                guard error.disposition == .permanent else { return alerts.count - index }
                continue
            }
            try await core.journal.removeAlert(alert)
        }
        return 0
    }

    private func fail(_ alert: QueuedAlert, with error: SystemError) async throws(JournalError) {
        let now = core.time.now()
        let age = now.timeIntervalSince(alert.event.occurredAt)
        core.logger.warning(
            "alert not delivered",
            metadata: [
                "sink": "\(alert.sink)", "alert": "\(alert.event.kind.rawValue)", "code": "\(error.code.rawValue)",
                "error": "\(error.message)",
            ])
        guard age < Self.patience else {
            try await core.journal.audit(
                AuditEvent(
                    at: now, kind: "alert.given-up", secret: alert.event.secret,
                    detail: ["sink": alert.sink, "alert": alert.event.kind.rawValue, "code": error.code.rawValue]))
            try await core.journal.removeAlert(alert)
            return
        }
        let delay = core.retryDelay(attempt: alert.attempts + 1, base: 5, cap: 3600, retryAfter: error.retryAfter)
        try await core.journal.postponeAlert(alert, until: now.addingTimeInterval(delay))
    }
}
