import KeyturnCore

/// The old key must live through its grace, and the issuer must have room for it.
enum GraceRules {
    @Sendable static func check(_ context: ValidationContext) -> [Diagnostic] {
        context.policies.flatMap { check($0, context.traits(of: $0.policy)) }
    }

    private static func check(_ located: LocatedPolicy, _ traits: IssuerTraits?) -> [Diagnostic] {
        let policy = located.policy
        var found: [Diagnostic] = []
        // Whatever makes it rotate, the old key has at least `renewBefore` to live.
        if let lifetime = policy.lifetime, let renewBefore = policy.rotation.renewBefore, policy.grace > renewBefore {
            let left: Int64
            if case .every(let every) = policy.rotation.recurrence {
                left = max(renewBefore.seconds, lifetime.seconds - every.seconds)
            } else {
                left = renewBefore.seconds
            }
            if policy.grace.seconds > left {
                found.append(
                    located.diagnostic(
                        located.mark("grace"),
                        "the grace (\(policy.grace)) does not fit: the old key expires \(PolicyDuration(seconds: left)?.description ?? "at once") after it is replaced"
                    ))
            }
        }
        if let limit = traits?.keyLimit, limit <= 2, let shortest = shortestInterval(policy) {
            let observe = traits?.disables == true ? policy.retirement.observe?.seconds ?? 0 : 0
            let held = policy.grace.seconds + observe + (policy.retirement.whenUnused?.seconds ?? 0)
            if held >= shortest {
                found.append(
                    located.diagnostic(
                        located.mark("grace"),
                        "the issuer allows \(limit) keys: grace, whenUnused and observe together must be shorter than the time between rotations (\(PolicyDuration(seconds: shortest)?.description ?? "0s"))"
                    ))
            }
        }
        return found
    }

    /// The least time from one promotion to the next start, in seconds.
    private static func shortestInterval(_ policy: Policy) -> Int64? {
        var intervals: [Int64] = []
        if case .every(let every) = policy.rotation.recurrence { intervals.append(every.seconds) }
        if let lifetime = policy.lifetime, let renewBefore = policy.rotation.renewBefore {
            intervals.append(lifetime.seconds - renewBefore.seconds)
        }
        return intervals.min().map { $0 - (policy.rotation.jitter?.seconds ?? 0) }
    }
}
