import Foundation
import KeyturnCore

/// Decides which alerts go out. One that is firing is not sent again; when its cause is gone, one `recovered` follows.
struct AlertDesk {
    let core: EngineCore
    let policy: Policy?
    let sinks: [String]
    let now: Date

    /// Says that something is wrong.
    func raise(
        _ kind: AlertEvent.Kind, severity: AlertEvent.Severity, version: Int? = nil, step: String? = nil,
        reason: String, summary: String, advice: String, in record: inout SecretRecord, _ outbox: inout Outbox
    ) {
        guard record.firing[kind.rawValue] == nil else { return }
        record.firing[kind.rawValue] = now
        send(
            event(
                kind, severity, record.name, version: version, step: step, reason: reason, summary: summary,
                advice: advice), &outbox)
        outbox.audit.append(
            AuditEvent(
                at: now, kind: "alert.raised", secret: record.name, version: version, step: step,
                detail: ["alert": kind.rawValue, "reason": reason]))
    }

    /// Says something once that has no end, such as a possible orphan.
    func tell(
        _ kind: AlertEvent.Kind, severity: AlertEvent.Severity, version: Int?, reason: String, summary: String,
        advice: String, about secret: SecretName, _ outbox: inout Outbox
    ) {
        send(
            event(
                kind, severity, secret, version: version, step: nil, reason: reason, summary: summary, advice: advice),
            &outbox)
    }

    /// Says that what was wrong is over, for each of the kinds that is firing.
    func clear(_ kinds: [AlertEvent.Kind], in record: inout SecretRecord, _ outbox: inout Outbox) {
        for kind in kinds where record.firing.removeValue(forKey: kind.rawValue) != nil {
            send(
                event(
                    .recovered, .info, record.name, version: record.current?.number, step: nil, reason: kind.rawValue,
                    summary: "\(record.name): \(kind.rawValue) is over", advice: "", resolves: kind), &outbox)
            outbox.audit.append(
                AuditEvent(at: now, kind: "alert.cleared", secret: record.name, detail: ["alert": kind.rawValue]))
        }
    }

    private func event(
        _ kind: AlertEvent.Kind, _ severity: AlertEvent.Severity, _ secret: SecretName, version: Int?, step: String?,
        reason: String, summary: String, advice: String, resolves: AlertEvent.Kind? = nil
    ) -> AlertEvent {
        AlertEvent(
            id: "msg_\(core.random.nonce())", kind: kind, severity: severity, secret: secret, owner: policy?.owner,
            version: version, step: step, reason: reason, summary: summary, advice: advice, occurredAt: now,
            resolves: resolves)
    }

    private func send(_ event: AlertEvent, _ outbox: inout Outbox) {
        outbox.alerts += sinks.map { QueuedAlert(event: event, sink: $0, nextAttempt: now) }
    }
}
