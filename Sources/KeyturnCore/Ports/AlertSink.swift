package import Foundation

/// Something a person should know. It has no place for a value.
package struct AlertEvent: Sendable, Codable, Equatable {
    package enum Kind: String, Sendable, Codable, CaseIterable {
        case rotationFailed = "rotation.failed"
        case rotationOverdue = "rotation.overdue"
        case keyExpired = "key.expired"
        case retireBlocked = "retire.blocked"
        case possibleOrphan = "orphan.possible"
        case quarantined = "secret.quarantined"
        /// Too many rotations in a row failed, and everything is paused.
        case rotationsStopped = "rotations.stopped"
        case reloadFailed = "reload.failed"
        case clockDisagrees = "clock.disagrees"
        case stateRestored = "state.restored"
        case driftFound = "drift.found"
        case recovered = "recovered"
    }

    package enum Severity: String, Sendable, Codable { case info, warning, error, critical }

    /// The same over all attempts to deliver it.
    package let id: String
    package let kind: Kind
    package let severity: Severity
    /// `nil` for what concerns the whole installation.
    package let secret: SecretName?
    package let owner: String?
    package let version: Int?
    /// The step that failed, such as `promote:vault`.
    package let step: String?
    /// A stable word for the reason.
    package let reason: String
    /// One sentence.
    package let summary: String
    /// What to do.
    package let advice: String
    /// UTC.
    package let occurredAt: Date
    /// For `recovered`: which kind has ended.
    package let resolves: Kind?

    package init(
        id: String, kind: Kind, severity: Severity, secret: SecretName?, owner: String?, version: Int?, step: String?,
        reason: String, summary: String, advice: String, occurredAt: Date, resolves: Kind? = nil
    ) {
        self.id = id
        self.kind = kind
        self.severity = severity
        self.secret = secret
        self.owner = owner
        self.version = version
        self.step = step
        self.reason = reason
        self.summary = summary
        self.advice = advice
        self.occurredAt = occurredAt
        self.resolves = resolves
    }
}

/// Tells people.
///
/// `deliver` may be called again with the same event after a lost answer: the event's `id` lets the receiver fold
/// repeats. Success means that the receiver has it. Errors are `SystemError`s without values.
package protocol AlertSink: Sendable {
    func deliver(_ event: AlertEvent) async throws(SystemError)

    /// Whether what it is configured with can be used, such as its references. It tells nobody.
    func probe() async throws(SystemError)
}

extension AlertSink {
    package func probe() async throws(SystemError) {}
}
