package import Foundation

/// All that the journal knows of one secret.
package struct SecretRecord: Sendable, Codable, Equatable {
    package let name: SecretName
    /// By number, ascending.
    package var versions: [VersionRecord]
    package var rotation: RotationRecord?
    package var quarantine: Quarantine?
    /// When the schedule of the policy in force was first seen, so that an edited one does not rotate everything at once.
    package var schedule: ScheduleMark?
    /// Alerts that are firing, by kind, with the time since when.
    package var firing: [String: Date]
    /// Rotations in a row that were abandoned.
    package var abandonedInARow: Int
    /// Set while its rotation waits for a place among those that may begin in an hour.
    package var waiting: Waiting?
    /// A rotation that the user asked for and that is not over. Set by ``Journal/request(_:of:actor:)`` alone; a commit
    /// leaves it as it is, unless it says that it is fulfilled.
    package var request: RotationRequest?
    /// Set by ``Journal/setPaused(_:of:at:actor:)`` alone; a commit leaves it as it is.
    package var pausedSince: Date?
    /// When somebody asked that the promoted value be put back where it drifted. Set by
    /// ``Journal/requestRepair(of:at:actor:)`` alone; a commit leaves it as it is, unless it says that it is fulfilled.
    package var repairSince: Date?
    /// The newest unknown outcome that was resolved.
    package var resolved: ResolvedStep?
    private var openSteps: [UnansweredStep]?

    /// Steps that were intended and whose answers are not recorded.
    package var unanswered: [UnansweredStep] {
        get { openSteps ?? [] }
        set { openSteps = newValue.isEmpty ? nil : newValue }
    }

    /// How retirements stand whose last try failed. A gate that is still closed, such as an old key in use, is no failure.
    package var stuckRetirements: [VersionRecord.RetirementProgress] {
        leaving.compactMap(\.retirement).filter { $0.lastError.map { $0.code != .notYet } ?? false }
    }

    /// When what failed is tried again; `nil` where nothing did. While a rotation is under way nothing is retired.
    ///
    /// - Parameter prunes: whether it counts that the value of a key which has ended is still to be removed.
    package func nextRetry(includingPrunes prunes: Bool) -> Date? {
        guard rotation == nil else { return rotation?.nextAttempt }
        return stuckRetirements.filter { prunes || !$0.revoked }.compactMap(\.nextAttempt).min()
    }

    /// What people ask of it.
    package var wishes: SecretWishes {
        get { SecretWishes(pausedSince: pausedSince, request: request, repairSince: repairSince) }
        set {
            pausedSince = newValue.pausedSince
            repairSince = newValue.repairSince
            request = newValue.request
        }
    }

    package init(name: SecretName) {
        self.name = name
        versions = []
        firing = [:]
        abandonedInARow = 0
    }

    package struct Quarantine: Sendable, Codable, Equatable {
        package let since: Date
        package let reason: String

        package init(since: Date, reason: String) {
            self.since = since
            self.reason = reason
        }
    }

    package struct ScheduleMark: Sendable, Codable, Equatable {
        package let digest: String
        package let since: Date
        /// Whether it took the place of another schedule (and not: the first one seen).
        package let replacedAnother: Bool

        package init(digest: String, since: Date, replacedAnother: Bool) {
            self.digest = digest
            self.since = since
            self.replacedAnother = replacedAnother
        }
    }

    /// What a person asked for: a new key, or the key before the present one.
    package struct RotationRequest: Sendable, Codable, Equatable {
        package let at: Date
        package let compromised: Bool
        // Absent unless true, so that a request has one form, by which the journal knows it again.
        private let rollback: Bool?

        /// Whether the version before the current one is to be current again.
        package var rollsBack: Bool { rollback ?? false }

        package init(at: Date, compromised: Bool, rollsBack: Bool = false) {
            self.at = at
            self.compromised = compromised
            rollback = rollsBack && !compromised ? true : nil
        }

        /// The same request when another is open: it stays compromised, which nothing is rolled back to.
        package func joined(with open: RotationRequest?) -> RotationRequest {
            RotationRequest(
                at: at, compromised: compromised || open?.compromised ?? false, rollsBack: rollsBack)
        }

        /// How the audit trail tells of it.
        package func auditEvent(of secret: SecretName, actor: String) -> AuditEvent {
            let kind =
                compromised
                ? "rotation.requested-compromised" : rollsBack ? "rollback.requested" : "rotation.requested"
            return AuditEvent(at: at, kind: kind, secret: secret, actor: actor)
        }
    }

    /// A rotation that is due and may not begin yet.
    package struct Waiting: Sendable, Codable, Equatable {
        package let since: Date
        /// When it asks for its place again.
        package let until: Date
        /// When the present key expires, by which those that wait are put in order.
        package let expiresAt: Date?
        /// How many may begin in an hour, when it asked. Under another limit it asks anew.
        package let limit: Int

        package init(since: Date, until: Date, expiresAt: Date?, limit: Int) {
            self.limit = limit
            self.since = since
            self.until = until
            self.expiresAt = expiresAt
        }
    }

    package var current: VersionRecord? { last(in: .current) }
    package var pending: VersionRecord? { last(in: .pending) }
    /// Versions that are on their way out, oldest first.
    package var leaving: [VersionRecord] {
        versions.indices.filter { versions[$0].isLeaving }.map { versions[$0] }
    }
    /// The number that the next version gets.
    package var nextNumber: Int { max(versions.last?.number ?? 0, rotation?.version ?? 0) + 1 }

    package func version(_ number: Int) -> VersionRecord? {
        versions.indices.first { versions[$0].number == number }.map { versions[$0] }
    }

    /// Goes over places and not over versions, of which a long-lived secret has many: a version is costly to copy.
    private func last(in stage: Stage) -> VersionRecord? {
        versions.indices.last { versions[$0].stage == stage }.map { versions[$0] }
    }

    /// Puts `version` in the place of the one with its number, or adds it.
    package mutating func put(_ version: VersionRecord) {
        if let index = versions.indices.first(where: { versions[$0].number == version.number }) {
            versions[index] = version
        } else {
            versions.append(version)
            versions.sort { $0.number < $1.number }
        }
    }
}
