/// Why something is done, waits or is left alone: a stable word that report, status, log, audit and alert share.
package enum PlanReason: String, Sendable, Codable, CaseIterable {
    /// There is no version yet.
    case new
    /// `every` or `cron` asks for it.
    case schedule
    case renewBeforeExpiry = "renew-before-expiry"
    case requested
    case compromised
    /// The version before the current one is to be current again.
    case rollback
    /// The policy names a place that does not have the current version yet.
    case newBackend = "new-backend"
    /// Somebody asked that the promoted value be put back where a backend holds another.
    case repair
    /// A rotation is under way.
    case inFlight = "in-flight"
    /// A step failed and is tried again.
    case retry
    case notDue = "not-due"
    /// The issuer allows no further key until an old one is retired.
    case keyLimit = "key-limit"
    /// So many rotations as may begin in an hour have begun.
    case rotationLimit = "rotation-limit"
    /// A secret named by `after` goes first.
    case after
    case quarantined
    case paused
    /// The policy is gone; what is left of the secret is only looked after.
    case noPolicy = "no-policy"
    /// Nothing will ever make it rotate by itself.
    case never
}
