package import Foundation

/// A rotation in flight as the journal keeps it. There is at most one for a secret.
package struct RotationRecord: Sendable, Codable, Equatable {
    package let version: Int
    package var machine: RotationMachine
    package let startedAt: Date
    /// Why it began: ``PlanReason`` word.
    package let reason: String
    /// Whether the version it replaces is compromised: no grace then.
    package let compromised: Bool
    /// The policy's `issueDigest` when the key was asked for.
    package let issueDigest: String
    /// The intent to issue, from before the call until its answer is in.
    package var issueIntent: IssueIntent?
    /// Tries of the step that is failing now, 0 when none is.
    package var attempt: Int
    package var lastError: StepFailure?
    package var nextAttempt: Date?
    /// How many keys before this one the targets rejected in this row of attempts.
    package let reissues: Int
    /// How many answers to its creation were lost for good, each of which may have left a key behind.
    package var lostKeys: Int
    /// Failed tries of each best-effort backend.
    package var bestEffortFailures: [String: Int]
    /// Backends at which a value that Keyturn did not write is replaced, because somebody asked for a repair.
    package var repairs: [String]?
    /// Set once it is counted as failed, so that it counts once.
    package var countedAsFailed: Bool?

    /// Whether it makes an earlier version current again, and no new one.
    package var isRollback: Bool { reason == PlanReason.rollback.rawValue }

    package init(
        version: Int, machine: RotationMachine, startedAt: Date, reason: String, compromised: Bool, issueDigest: String,
        reissues: Int = 0
    ) {
        self.version = version
        self.machine = machine
        self.startedAt = startedAt
        self.reason = reason
        self.compromised = compromised
        self.issueDigest = issueDigest
        self.reissues = reissues
        attempt = 0
        lostKeys = 0
        bestEffortFailures = [:]
    }

    /// What was durable before the issuer was asked.
    package struct IssueIntent: Sendable, Codable, Equatable {
        package let nonce: String
        /// The issuer that was asked, whatever the policy says later.
        package let issuer: String
        package let intendedAt: Date
        /// What the machine's clocks showed then; `nil` where it was not noted.
        package let clocks: ClockReading?
        package let notes: [String: String]
        /// The key itself, sealed, where it was chosen by us.
        package let sealedChosen: Data?
        package let parameters: Parameters
        package let lifetime: Int64?
        package let knownKeyIDs: [String]

        package init(
            nonce: String, issuer: String, intendedAt: Date, clocks: ClockReading? = nil, notes: [String: String],
            sealedChosen: Data?, parameters: Parameters, lifetime: Int64?, knownKeyIDs: [String]
        ) {
            self.clocks = clocks
            self.nonce = nonce
            self.issuer = issuer
            self.intendedAt = intendedAt
            self.notes = notes
            self.sealedChosen = sealedChosen
            self.parameters = parameters
            self.lifetime = lifetime
            self.knownKeyIDs = knownKeyIDs
        }
    }
}
