import KeyturnCore

/// What `retire` asks for must be something that the issuer can do.
enum RetirementRules {
    @Sendable static func check(_ context: ValidationContext) -> [Diagnostic] {
        context.policies.flatMap { located -> [Diagnostic] in
            guard let traits = context.traits(of: located.policy), let issuer = context.issuer(of: located.policy)
            else {
                return []
            }
            var found: [Diagnostic] = []
            if located.policy.retirement.whenUnused != nil, !traits.reportsLastUse {
                found.append(
                    located.diagnostic(
                        located.mark("retire.whenUnused"),
                        "issuer type '\(issuer.type)' does not tell when a key was last used\(those(context) { $0.reportsLastUse })"
                    ))
            }
            if located.policy.retirement.observe != nil, !traits.disables {
                found.append(
                    located.diagnostic(
                        located.mark("retire.observe"),
                        "issuer type '\(issuer.type)' can't disable a key\(those(context) { $0.disables })"))
            }
            if !located.policy.retirement.health.isEmpty, located.policy.retirement.observe == nil {
                found.append(
                    located.diagnostic(
                        located.mark("retire.health"),
                        "'health' needs 'observe': the checks run while the old key is switched off"))
            }
            if located.policy.retirement.onCompromise == .revokeFirst, !traits.revokes {
                found.append(
                    located.diagnostic(
                        located.mark("retire.onCompromise"),
                        "nobody ends a key of issuer type '\(issuer.type)': revoke-first gains nothing there, and consumers go on with the old key until they get the new one",
                        severity: .warning))
            }
            return found
        }
    }

    private static func those(_ context: ValidationContext, _ can: (IssuerTraits) -> Bool) -> String {
        let types = context.catalog.issuers.filter { can($0.traits) }.map(\.type).sorted()
        return types.isEmpty ? "" : "; these do: \(types.joined(separator: ", "))"
    }
}
