package import Foundation

/// What the user wrote for one secret, after all checks.
package struct Policy: Sendable {
    package let secret: SecretName
    package let description: String?
    package let owner: String?
    /// The name of the issuer in keyturn.yaml.
    package let issuer: String
    /// Parameters for the issuer, checked against its schema.
    package let issue: Parameters
    /// Validity asked of the issuer; `nil` means `never`.
    package let lifetime: PolicyDuration?
    package let rotation: RotationSchedule
    /// How long the previous version stays valid after every backend has the new one.
    package let grace: PolicyDuration
    /// At least one.
    package let backends: [PolicyBackend]
    package let checks: [PolicyCheck]
    package let retirement: RetirementRule
    /// Secrets that go first when both are due.
    package let after: [SecretName]
    /// Names of alert sinks in keyturn.yaml.
    package let alerts: [String]
    package let origin: PolicyOrigin

    package init(
        secret: SecretName, description: String? = nil, owner: String? = nil, issuer: String, issue: Parameters,
        lifetime: PolicyDuration?, rotation: RotationSchedule, grace: PolicyDuration, backends: [PolicyBackend],
        checks: [PolicyCheck] = [], retirement: RetirementRule = RetirementRule(), after: [SecretName] = [],
        alerts: [String] = [], origin: PolicyOrigin
    ) {
        self.secret = secret
        self.description = description
        self.owner = owner
        self.issuer = issuer
        self.issue = issue
        self.lifetime = lifetime
        self.rotation = rotation
        self.grace = grace
        self.backends = backends
        self.checks = checks
        self.retirement = retirement
        self.after = after
        self.alerts = alerts
        self.origin = origin
    }
}

extension Policy {
    /// Backends at places that `version` was never written to.
    package func places(lacking version: VersionRecord) -> [PolicyBackend] {
        backends.filter { entry in !version.backends.contains { $0.target.isSamePlace(as: entry.target) } }
    }
}

/// When a secret rotates.
package struct RotationSchedule: Sendable, Hashable {
    package enum Recurrence: Sendable, Hashable {
        case every(PolicyDuration)
        case cron(CronExpression)
    }

    package let recurrence: Recurrence
    package let timeZone: TimeZone
    /// How long before expiry the replacement must be current; `nil` when the key never expires.
    package let renewBefore: PolicyDuration?
    /// The most by which a rotation is moved earlier, the same for a secret on every machine.
    package let jitter: PolicyDuration?
    package let window: RotationWindow?

    package init(
        recurrence: Recurrence, timeZone: TimeZone, renewBefore: PolicyDuration?, jitter: PolicyDuration? = nil,
        window: RotationWindow? = nil
    ) {
        self.recurrence = recurrence
        self.timeZone = timeZone
        self.renewBefore = renewBefore
        self.jitter = jitter
        self.window = window
    }
}

/// One place where a secret goes.
package struct PolicyBackend: Sendable, Hashable {
    package let target: BackendTarget
    package let template: ValueTemplate?
    /// A backend that is not required is `bestEffort`: its failure holds nothing up.
    package let required: Bool
    /// Whether a value that Keyturn did not write may be replaced there.
    package let overwrite: Bool

    package init(target: BackendTarget, template: ValueTemplate? = nil, required: Bool = true, overwrite: Bool = false)
    {
        self.target = target
        self.template = template
        self.required = required
        self.overwrite = overwrite
    }

    /// How this entry is named in steps, logs and reports. A policy names a backend once.
    package var name: String { target.backend }
}

/// One check before promote.
package struct PolicyCheck: Sendable, Hashable {
    /// `issuer`, or a type in the catalogue.
    package let type: String
    package let parameters: Parameters

    package init(type: String, parameters: Parameters = [:]) {
        self.type = type
        self.parameters = parameters
    }
}

/// When an old key may go.
package struct RetirementRule: Sendable, Hashable {
    /// The key must not have been used for this long, where the issuer tells.
    package let whenUnused: PolicyDuration?
    /// How long it stays disabled before it is revoked, where the issuer can disable.
    package let observe: PolicyDuration?
    /// Checks that must go on passing with the current key while the old one is switched off. When one fails, the old
    /// key is switched on again.
    package let health: [PolicyCheck]
    /// When a compromised key is revoked.
    package let onCompromise: OnCompromise

    package enum OnCompromise: String, Sendable, CaseIterable {
        /// As soon as the new one is current everywhere: consumers are served throughout.
        case revokeLast = "revoke-last"
        /// Before the new one is made: an outage is preferred to a leaked key that works.
        case revokeFirst = "revoke-first"
    }

    package init(
        whenUnused: PolicyDuration? = nil, observe: PolicyDuration? = nil, health: [PolicyCheck] = [],
        onCompromise: OnCompromise = .revokeLast
    ) {
        self.whenUnused = whenUnused
        self.observe = observe
        self.health = health
        self.onCompromise = onCompromise
    }

    /// How long until the health checks are run again, in seconds: about twenty times while the key is observed.
    package var healthInterval: Double { min(900, max(60, (observe?.timeInterval ?? 0) / 20)) }
}

/// Where a policy stands, and which of its values were written there (the others are defaults).
package struct PolicyOrigin: Sendable {
    /// Path as it is shown to people, relative to the configuration's folder.
    package let file: String
    package let line: Int
    /// Lines of the fields that were written, by their dotted name such as `rotate.renewBefore`.
    package let writtenAt: [String: Int]
    /// Changes whenever the meaning of the policy changes; hexadecimal.
    package let digest: String
    /// Changes whenever what the issuer is asked for changes (issuer, issue, lifetime).
    package let issueDigest: String
    /// Changes whenever the schedule changes (rotate, lifetime).
    package let scheduleDigest: String

    package init(
        file: String, line: Int, writtenAt: [String: Int], digest: String, issueDigest: String, scheduleDigest: String
    ) {
        self.file = file
        self.line = line
        self.writtenAt = writtenAt
        self.digest = digest
        self.issueDigest = issueDigest
        self.scheduleDigest = scheduleDigest
    }
}
