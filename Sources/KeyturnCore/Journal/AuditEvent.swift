package import Foundation

/// One thing that happened, to be chained into the audit trail. It has no place for a value.
package struct AuditEvent: Sendable, Codable, Equatable {
    /// UTC; kept to the millisecond.
    package let at: Date
    /// A stable word such as `step.intended`, `step.succeeded`, `step.failed`, `version.promoted`, `secret.paused`.
    package let kind: String
    package let secret: SecretName?
    package let version: Int?
    /// ``RotationStep/text``.
    package let step: String?
    /// Who: `engine`, or the user who gave the command.
    package let actor: String
    /// Further facts, such as `keyId`, `reason`, `code`.
    package let detail: [String: String]

    package init(
        at: Date, kind: String, secret: SecretName?, version: Int? = nil, step: String? = nil, actor: String = "engine",
        detail: [String: String] = [:]
    ) {
        self.at = at
        self.kind = kind
        self.secret = secret
        self.version = version
        self.step = step
        self.actor = actor
        self.detail = detail
    }
}

/// An audit event in its place in the chain.
package struct AuditEntry: Sendable, Codable, Equatable {
    /// From 1, without gaps.
    package let sequence: Int64
    package let event: AuditEvent
    /// Hexadecimal SHA-256 of the entry before, 64 zeros for the first.
    package let previousHash: String
    /// Hexadecimal SHA-256 over ``AuditChain/digest(sequence:event:previousHash:)``.
    package let hash: String

    package init(sequence: Int64, event: AuditEvent, previousHash: String, hash: String) {
        self.sequence = sequence
        self.event = event
        self.previousHash = previousHash
        self.hash = hash
    }
}
