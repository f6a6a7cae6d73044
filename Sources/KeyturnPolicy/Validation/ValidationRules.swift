import KeyturnCore
import Yams

/// What a rule looks at.
struct ValidationContext {
    let policies: [LocatedPolicy]
    let configuration: Configuration
    let catalog: SystemCatalog

    func issuer(of policy: Policy) -> IssuerDescription? {
        let type = configuration.issuers[policy.issuer]?.type
        return catalog.issuers.first { $0.type == type }
    }

    /// What is known of the issuer as configured: a program of the user's says itself what it can do.
    func traits(of policy: Policy) -> IssuerTraits? {
        guard let description = issuer(of: policy) else { return nil }
        let parameters = configuration.issuers[policy.issuer]?.parameters ?? [:]
        let own = description.traits
        return IssuerTraits(
            kind: own.kind, keyLimit: parameters.integer("keyLimit") ?? own.keyLimit,
            enforcesExpiry: own.enforcesExpiry, checks: own.checks,
            disables: parameters.boolean("disables") ?? own.disables,
            reportsLastUse: parameters.boolean("reportsLastUse") ?? own.reportsLastUse, revokes: own.revokes)
    }
}

extension LocatedPolicy {
    func diagnostic(
        _ mark: Mark?, _ message: String, severity: Diagnostic.Severity = .error
    ) -> Diagnostic {
        Diagnostic(
            file: file, line: mark?.line ?? 1, column: mark?.column ?? 1, severity: severity, message: message)
    }
}

/// The rules that hold between the fields of a policy, and between policies. All run, all findings are shown.
enum ValidationRules {
    typealias Rule = @Sendable (ValidationContext) -> [Diagnostic]

    static let all: [Rule] = [
        SecretsAreUnique.check,  // two policies for one secret would turn it over for each other
        TargetsAreUnique.check,  // two secrets in one place would overwrite each other
        BackendRules.check,  // one backend at least must have the new key before the old one goes
        LifetimeRules.check,  // never needs consent; renewBefore and jitter fit into the lifetime
        GraceRules.check,  // the old key lives through its grace, and the issuer has room for both
        RetirementRules.check,  // what retire asks for, the issuer can do
        RoomBeforeExpiry.check,  // window and cron leave a start before every expiry, or a dated counterexample
        OrderRules.check,  // after names secrets that are there, without a cycle
        ReferenceRules.check,  // {vault: SECRET} names a secret that is kept here
    ]
}
