import Foundation
import KeyturnCore

extension RotationDriver {
    /// Counts a rotation as failed, once, among all secrets; the last one that is allowed stops everything.
    func countAsFailed(_ record: inout SecretRecord, _ outbox: inout Outbox) {
        guard let limit = core.settings.stopAfterFailures, let rotation = record.rotation, rotation.makesAKey,
            rotation.countedAsFailed != true
        else { return }
        record.rotation?.countedAsFailed = true
        let reason = "\(limit) rotations in a row failed, the last one of \(record.name)"
        let event = AlertEvent(
            id: "msg_\(core.random.nonce())", kind: .rotationsStopped, severity: .critical, secret: nil, owner: nil,
            version: nil, step: nil, reason: "stop-after-failures", summary: "\(reason); everything is paused",
            advice: "see `keyturn status`, mend what is wrong, then `keyturn resume --all`", occurredAt: now)
        outbox.tally = .failed(
            StopRule(
                limit: limit,
                pause: PauseSwitch(
                    scope: .everything, since: now, reason: reason, actor: "engine", cause: .failures),
                alerts: workplace.sinks.keys.sorted().map { QueuedAlert(event: event, sink: $0, nextAttempt: now) }))
    }

    /// A rotation that succeeded begins the count anew.
    func countAsSucceeded(_ rotation: RotationRecord, _ outbox: inout Outbox) {
        guard core.settings.stopAfterFailures != nil, rotation.makesAKey else { return }
        outbox.tally = .succeeded
    }
}

extension RotationRecord {
    /// Whether it is one that makes a new key.
    var makesAKey: Bool { !isRollback && reason != PlanReason.newBackend.rawValue }
}
