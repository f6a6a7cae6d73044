package import Foundation

/// One version of a secret as the journal keeps it.
package struct VersionRecord: Sendable, Codable, Equatable {
    package let number: Int
    package var stage: Stage
    /// The issuer's public name for the key.
    package var keyID: String?
    package var issuedAt: Date
    /// `nil` when it never expires.
    package var expiresAt: Date?
    /// When every required backend had it as current.
    package var promotedAt: Date?
    /// When it became current again after another version was; `nil` when it never was rolled back to.
    package var rolledBackAt: Date?
    /// The earliest time at which it may be retired; set when its successor is promoted.
    package var retireAt: Date?
    /// Since when its grace runs.
    package private(set) var graceBeganAt: Date?
    /// When it was disabled at the issuer.
    package var disabledAt: Date?
    /// When it was retired or abandoned.
    package var endedAt: Date?
    /// The key material, sealed; gone once the version is retired or abandoned.
    package var sealed: Data?
    /// The issuer's name, and the parameters with which it was asked: what revoking needs, whatever the policy says later.
    package let issuer: String
    package let issueParameters: Parameters
    /// Where it went, and what each backend answered.
    package var backends: [StoredBackend]
    /// Whether the user declared it compromised: it is never made current again.
    package var tainted: Bool
    /// Where it was made: by Keyturn, or elsewhere and adopted.
    package let adopted: Bool
    /// What backends hold of it, where it was made in a history that the journal has lost: then there is no key material.
    package var found: [FoundValue]?
    /// How far its retirement is, once it has begun.
    package var retirement: RetirementProgress?

    package init(
        number: Int, stage: Stage, keyID: String?, issuedAt: Date, expiresAt: Date?, sealed: Data?, issuer: String,
        issueParameters: Parameters, backends: [StoredBackend] = [], tainted: Bool = false, adopted: Bool = false
    ) {
        self.number = number
        self.stage = stage
        self.keyID = keyID
        self.issuedAt = issuedAt
        self.expiresAt = expiresAt
        self.sealed = sealed
        self.issuer = issuer
        self.issueParameters = issueParameters
        self.backends = backends
        self.tainted = tainted
        self.adopted = adopted
    }

    /// Another version is in its place from now on.
    ///
    /// - Parameter grace: how long it stays valid, in seconds.
    package mutating func leave(at now: Date, grace: Double) {
        stage = .previous
        graceBeganAt = now
        retireAt = now.addingTimeInterval(grace)
    }

    /// It is current again.
    package mutating func comeBack(at now: Date) {
        rolledBackAt = now
        retireAt = nil
        graceBeganAt = nil
        retirement = nil
    }

    /// Whether it is on its way out.
    package var isLeaving: Bool { stage == .previous || stage == .disabled }
    /// Whether its key was ended at the issuer.
    package var isRevoked: Bool { stage == .retired || stage == .abandoned || retirement?.revoked ?? false }
    /// Whether its key may still work, and it is or was served to consumers.
    package var isAlive: Bool { (stage == .current || isLeaving) && !isRevoked }

    package struct FoundValue: Sendable, Codable, Equatable {
        package let target: BackendTarget
        /// The text as it lies there, sealed.
        package let sealed: Data

        package init(target: BackendTarget, sealed: Data) {
            self.target = target
            self.sealed = sealed
        }
    }

    /// One backend that got the version.
    package struct StoredBackend: Sendable, Codable, Equatable {
        package let target: BackendTarget
        /// The template's text, when there is one.
        package let template: String?
        package let required: Bool
        package var receipt: Receipt
        package var pruned: Bool

        package init(
            target: BackendTarget, template: String?, required: Bool, receipt: Receipt = [:], pruned: Bool = false
        ) {
            self.target = target
            self.template = template
            self.required = required
            self.receipt = receipt
            self.pruned = pruned
        }
    }

    /// The queue entry of a version that is on its way out; it stays until all is done.
    package struct RetirementProgress: Sendable, Codable, Equatable {
        package var revoked: Bool
        /// Whether the issuer was seen to refuse the key since then.
        package var refused: Bool?
        /// Why it is being switched on again; from the intent on until that is done.
        package var undoing: String?
        /// Why it was switched on again; until a person lets it be tried once more.
        package var undone: String?
        /// When the health checks are run again.
        package var nextHealthCheck: Date?
        /// Tries of the step that is failing now.
        package var attempt: Int
        package var lastError: StepFailure?
        package var nextAttempt: Date?

        package init() {
            revoked = false
            attempt = 0
        }
    }
}

/// A step that failed, as `status` shows it.
package struct StepFailure: Sendable, Codable, Equatable {
    /// ``RotationStep/text``.
    package let step: String
    package let code: SystemError.Code
    package let message: String
    package let advice: String
    package let at: Date

    package init(step: String, code: SystemError.Code, message: String, advice: String, at: Date) {
        self.step = step
        self.code = code
        self.message = message
        self.advice = advice
        self.at = at
    }

    /// Whether it was noted by a clock that has gone back since.
    package func isAhead(of now: Date) -> Bool { at.timeIntervalSince(now) > 60 }

    package init(step: RotationStep, error: SystemError, at: Date) {
        self.init(step: step.text, code: error.code, message: error.message, advice: error.advice, at: at)
    }
}
