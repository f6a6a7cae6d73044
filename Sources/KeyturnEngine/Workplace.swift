package import KeyturnCore

/// What the engine works with at one time: the policies in force and the systems they name. A reload hands over a new one.
package struct Workplace: Sendable {
    package let policies: [SecretName: Policy]
    package let issuers: [String: any Issuer]
    package let backends: [String: any Backend]
    package let sinks: [String: any AlertSink]
    /// Makes the check for an entry under `verify` whose type is not `issuer`.
    package let verifier: @Sendable (PolicyCheck) throws(SystemError) -> any KeyVerifier

    package init(
        policies: [Policy], issuers: [String: any Issuer], backends: [String: any Backend],
        sinks: [String: any AlertSink] = [:],
        verifier: @escaping @Sendable (PolicyCheck) throws(SystemError) -> any KeyVerifier
    ) {
        self.policies = Dictionary(policies.map { ($0.secret, $0) }) { first, _ in first }
        self.issuers = issuers
        self.backends = backends
        self.sinks = sinks
        self.verifier = verifier
    }

    func issuer(_ name: String) throws(SystemError) -> any Issuer {
        guard let issuer = issuers[name] else {
            throw SystemError(
                .misconfigured, "issuer '\(name)' is not configured any more",
                advice: "put it back into keyturn.yaml until its keys are gone")
        }
        return issuer
    }

    func backend(_ name: String) throws(SystemError) -> any Backend {
        guard let backend = backends[name] else {
            throw SystemError(
                .misconfigured, "backend '\(name)' is not configured any more",
                advice: "put it back into keyturn.yaml until nothing of it is in use")
        }
        return backend
    }

    /// The sinks that a secret's alerts go to: those its policy names, or all when it names none.
    func sinkNames(for policy: Policy?) -> [String] {
        guard let named = policy?.alerts, !named.isEmpty else { return sinks.keys.sorted() }
        return named
    }
}
