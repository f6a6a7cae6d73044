import Foundation
import KeyturnCore

/// Plays a schedule forward and proves that every key is replaced before it expires, or shows one that is not.
///
/// With `every` or an expiry, promotions begin at each hour of a week and the next start is looked at; with cron the
/// longest time between runs over the coming years counts. The start of the play is fixed, so that the verdict does not
/// change from day to day.
enum RoomBeforeExpiry {
    /// 2027-01-04T00:00:00Z, a Monday.
    private static let start = Date(timeIntervalSince1970: 1_799_020_800)
    private static let hours = 7 * 24

    @Sendable static func check(_ context: ValidationContext) -> [Diagnostic] { context.policies.compactMap(check) }

    private static func check(_ located: LocatedPolicy) -> Diagnostic? {
        let policy = located.policy
        // The clock changes twice a year: a week before, in between and after each.
        for week in 0..<53 {
            for hour in stride(from: 0, to: hours, by: week == 0 ? 1 : 24) {
                let promoted = start.addingTimeInterval(Double(week) * 7 * 86_400 + Double(hour) * 3600)
                if let message = counterexample(policy, promotedAt: promoted) {
                    let field = policy.rotation.window == nil ? "rotate.cron" : "rotate.window"
                    return located.diagnostic(located.mark(field, "rotate"), message)
                }
            }
            // Without local time in it one week is like the other.
            if policy.rotation.window == nil, case .every = policy.rotation.recurrence { break }
        }
        return nil
    }

    private static func counterexample(_ policy: Policy, promotedAt: Date) -> String? {
        let version = VersionRecord(
            number: 1, stage: .current, keyID: nil, issuedAt: promotedAt,
            expiresAt: policy.lifetime.map { promotedAt.addingTimeInterval($0.timeInterval) }, sealed: nil,
            issuer: policy.issuer, issueParameters: [:])
        guard let timing = RotationTiming.next(policy: policy, current: version, schedule: nil) else {
            return "nothing ever makes it rotate: the cron time never comes and the key never expires"
        }
        guard let expiresAt = version.expiresAt, let lastSafeStart = timing.lastSafeStart, timing.at > lastSafeStart
        else {
            return nil
        }
        return """
            a key would expire before it is replaced: one promoted \(promotedAt.formatted(.iso8601)) expires \
            \(expiresAt.formatted(.iso8601)), and the first start that the window allows is \(timing.at.formatted(.iso8601)); \
            widen the window, lengthen renewBefore, or write 'onConflict: deadline'
            """
    }
}
