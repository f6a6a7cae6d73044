import KeyturnCore

/// The arithmetic of lifetime, renewBefore, every and jitter.
enum LifetimeRules {
    @Sendable static func check(_ context: ValidationContext) -> [Diagnostic] { context.policies.flatMap(check) }

    private static func check(_ located: LocatedPolicy) -> [Diagnostic] {
        let policy = located.policy
        let rotation = policy.rotation
        var found: [Diagnostic] = []
        if policy.lifetime == nil, !located.allowsNoExpiry {
            found.append(
                located.diagnostic(
                    located.mark("lifetime"),
                    "a key that never expires stays valid wherever it leaks; give a lifetime, or write 'allowNoExpiry: true'"
                ))
        }
        if policy.lifetime == nil, located.marks["rotate.renewBefore"] != nil {
            found.append(
                located.diagnostic(
                    located.mark("rotate.renewBefore"), "'renewBefore' has no meaning for a key that never expires"))
        }
        if let lifetime = policy.lifetime, let renewBefore = rotation.renewBefore, renewBefore >= lifetime {
            found.append(
                located.diagnostic(
                    located.mark("rotate.renewBefore", "lifetime"),
                    "'renewBefore' (\(renewBefore)) must be shorter than the lifetime (\(lifetime))"))
        }
        if case .every(let every) = rotation.recurrence, every.seconds < 60 {
            found.append(located.diagnostic(located.mark("rotate.every"), "'every' must be a minute or more"))
        }
        if let jitter = rotation.jitter {
            if case .every(let every) = rotation.recurrence, jitter >= every {
                found.append(
                    located.diagnostic(
                        located.mark("rotate.jitter"), "'jitter' (\(jitter)) must be shorter than 'every' (\(every))"))
            }
            if let lifetime = policy.lifetime, let renewBefore = rotation.renewBefore,
                jitter.seconds >= lifetime.seconds - renewBefore.seconds
            {
                found.append(
                    located.diagnostic(
                        located.mark("rotate.jitter"),
                        "'jitter' (\(jitter)) must be shorter than the lifetime less 'renewBefore'"))
            }
        }
        return found
    }
}
