package import Foundation

/// What is to be done for one secret and when, judged from facts alone.
package struct SecretPlan: Sendable {
    /// What a rotation would be.
    package enum Action: String, Sendable, Codable {
        case none
        /// The first version is made.
        case issue
        case rotate
        /// An earlier version becomes current again.
        case rollBack = "rollback"
        /// An old version is retired.
        case retire
        /// A rotation that is under way goes on.
        case retry
    }

    /// How the secret fares, for reports.
    package enum State: String, Sendable, Codable, CaseIterable {
        case ok
        case due
        case overdue
        case expired
        case failing
        case neverExpires = "never-expires"
        case new
    }

    package let secret: SecretName
    package let state: State
    /// What a rotation would do next.
    package let action: Action
    /// When; `nil`: never by itself.
    package let at: Date?
    package let reason: PlanReason
    /// The reason in one sentence.
    package let sentence: String
    /// Whether something outside the schedule holds the rotation up, whatever ``at`` says.
    package let isBlocked: Bool
    /// How the time came about, when the schedule made it.
    package let timing: RotationTiming?
    /// What is on its way out.
    package let retirements: [PlannedRetirement]
    /// The next moment at which this plan may come out differently: when the engine looks again.
    package let nextLook: Date?

    package func isDue(at now: Date) -> Bool {
        action != .none && !isBlocked && at.map { $0 <= now } ?? false
    }
}

/// One version on its way out.
package struct PlannedRetirement: Sendable, Equatable {
    package let version: Int
    /// The earliest moment at which the next step of it may be taken; `nil` while it has to wait for something else.
    package let at: Date?
    /// The gates that need no question to an outside system.
    package let gates: [GateResult]

    package var isBlocked: Bool { gates.contains { $0.verdict == .blocked } }
}
