package import Foundation

/// When a secret rotates by itself, and why then. The one place that computes it: report, status, explain, the schedule
/// played forward and the engine all show or do what this says.
package struct RotationTiming: Sendable, Equatable {
    /// The planned start, UTC, on a whole second.
    package let at: Date
    /// ``PlanReason/schedule`` or ``PlanReason/renewBeforeExpiry``.
    package let reason: PlanReason
    /// What `every` or `cron` alone asks for.
    package let recurrence: Date?
    /// Expiry less `renewBefore`.
    package let renewal: Date?
    /// The last start that still leaves time to finish before expiry.
    package let lastSafeStart: Date?
    /// By how many seconds jitter moved it earlier.
    package let jitter: Int64
    /// Whether it waits for a rotation window, which opens at ``at``.
    package let waitsForWindow: Bool
    /// Whether it starts outside the window because the key would expire before the window opens.
    package let overridesWindow: Bool
    /// Whether a newly edited schedule is being spread out.
    package let isSpread: Bool
    /// Whether the renewal was put off because people just went back to this version.
    package let isAfterRollback: Bool

    /// From when on a rotation that has not begun counts as overdue.
    package var overdueAt: Date {
        let tolerance: TimeInterval
        if let lastSafeStart {
            tolerance = min(86_400, max(0, lastSafeStart.timeIntervalSince(at)) / 2)
        } else {
            tolerance = 86_400
        }
        return at.addingTimeInterval(tolerance)
    }

    /// The rule, in order: the earlier of `promotion + every` (or the next cron time after the promotion) and
    /// `expiry - renewBefore`; less the jitter; a schedule younger than that moment is spread out instead of starting at
    /// once; then the next opening of the window, unless the key would expire first and the policy says so. A version that
    /// was rolled back to is not renewed for a day, or for half of what is left before the last safe start where that is
    /// shorter, whatever its own expiry asks for.
    ///
    /// - Returns: `nil` when neither a recurrence nor an expiry makes it rotate, such as a cron time that never comes.
    package static func next(
        policy: Policy, current: VersionRecord, schedule: SecretRecord.ScheduleMark?
    ) -> RotationTiming? {
        let rotation = policy.rotation
        let anchor = current.promotedAt ?? current.issuedAt
        let recurrence: Date?
        let interval: TimeInterval
        switch rotation.recurrence {
        case .every(let duration):
            interval = duration.timeInterval
            recurrence = anchor.addingTimeInterval(interval)
        case .cron(let expression):
            interval = 10 * 86_400
            recurrence = expression.next(after: anchor, in: rotation.timeZone)
        }
        let renewBefore = rotation.renewBefore?.timeInterval ?? 0
        var renewal = current.expiresAt?.addingTimeInterval(-renewBefore)
        let lastSafeStart = current.expiresAt?.addingTimeInterval(-min(3600, renewBefore / 2))
        var isAfterRollback = false
        if let returned = current.rolledBackAt, let planned = renewal, let lastSafeStart {
            let earliest = returned.addingTimeInterval(
                min(86_400, max(0, lastSafeStart.timeIntervalSince(returned)) / 2))
            isAfterRollback = planned < earliest
            renewal = max(planned, earliest)
        }
        guard let first = [recurrence, renewal].compactMap({ $0 }).min() else { return nil }
        let reason: PlanReason = first == renewal && first != recurrence ? .renewBeforeExpiry : .schedule

        var jitter: Int64 = 0
        if let most = rotation.jitter, !(isAfterRollback && first == renewal) {
            let offset = DeterministicJitter.offset(
                for: policy.secret.text, cycle: String(current.number), within: most)
            jitter = min(offset, Int64(max(0, first.timeIntervalSince(anchor))))
        }
        var at = first.addingTimeInterval(-TimeInterval(jitter))
        var isSpread = false
        if let since = schedule?.since, at < since {
            isSpread = true
            at = since.addingTimeInterval(
                spread(policy.secret, over: interval, from: since, lastSafeStart: lastSafeStart))
        }
        at = Date(timeIntervalSince1970: at.timeIntervalSince1970.rounded(.down))

        var waitsForWindow = false
        var overridesWindow = false
        if let window = rotation.window, !window.contains(at, in: rotation.timeZone) {
            let opening = window.nextOpening(atOrAfter: at, in: rotation.timeZone)
            if window.onConflict == .deadline, let lastSafeStart, opening > lastSafeStart {
                overridesWindow = true
            } else {
                waitsForWindow = true
                at = opening
            }
        }
        return RotationTiming(
            at: at, reason: reason, recurrence: recurrence, renewal: renewal, lastSafeStart: lastSafeStart,
            jitter: jitter, waitsForWindow: waitsForWindow, overridesWindow: overridesWindow, isSpread: isSpread,
            isAfterRollback: isAfterRollback && first == renewal)
    }

    /// How long after a schedule came into force an already passed time is made up for: up to a day, a tenth of the
    /// interval, and half of what is left before the last safe start, whichever is least.
    private static func spread(
        _ secret: SecretName, over interval: TimeInterval, from since: Date, lastSafeStart: Date?
    ) -> TimeInterval {
        var most = min(86_400, interval / 10)
        if let lastSafeStart { most = min(most, max(0, lastSafeStart.timeIntervalSince(since)) / 2) }
        guard most >= 1, let duration = PolicyDuration(seconds: Int64(most)) else { return 0 }
        return TimeInterval(DeterministicJitter.offset(for: secret.text, cycle: "spread", within: duration))
    }
}
