package import Foundation
package import KeyturnCore

/// An instant written as RFC 3339, such as `2025-03-30T01:00Z`; seconds may be left out.
package func instant(_ text: String) throws -> Date {
    let full = text.count == 17 ? text.dropLast() + ":00Z" : Substring(text)
    return try Date(String(full), strategy: .iso8601)
}

extension SecretValue {
    /// The value of a text, for tests.
    package convenience init(_ text: String) { self.init(utf8: text) }
}

extension Policy {
    /// A policy of one secret in one backend, as plain as it can be but for what is named.
    package static func sample(
        _ secret: String = "team/key", recurrence: RotationSchedule.Recurrence? = nil, lifetime: String? = "60d",
        renewBefore: String? = "20d", jitter: String? = nil, zone: String = "UTC", window: RotationWindow? = nil,
        retirement: RetirementRule = RetirementRule(), after: [String] = []
    ) throws -> Policy {
        let name = try SecretName(secret)
        return Policy(
            secret: name, issuer: "issuer", issue: [:], lifetime: try lifetime.map { try PolicyDuration($0) },
            rotation: RotationSchedule(
                recurrence: try recurrence ?? .every(PolicyDuration("30d")),
                timeZone: TimeZone(identifier: zone) ?? .gmt,
                renewBefore: try renewBefore.map { try PolicyDuration($0) },
                jitter: try jitter.map { try PolicyDuration($0) }, window: window),
            grace: try PolicyDuration("2d"),
            backends: [PolicyBackend(target: BackendTarget(backend: "vault", path: secret))],
            retirement: retirement, after: try after.map { try SecretName($0) },
            origin: PolicyOrigin(
                file: "sample.yaml", line: 1, writtenAt: [:], digest: "digest", issueDigest: "issue",
                scheduleDigest: "schedule"))
    }
}

extension VersionRecord {
    /// A version that was issued and, unless it is pending, promoted at one instant.
    package static func sample(
        _ number: Int = 1, _ stage: Stage = .current, from date: Date, expiresAt: Date? = nil, adopted: Bool = false
    ) -> VersionRecord {
        var version = VersionRecord(
            number: number, stage: stage, keyID: "key-\(number)", issuedAt: date, expiresAt: expiresAt, sealed: nil,
            issuer: "issuer", issueParameters: [:], adopted: adopted)
        if stage != .pending, !adopted { version.promotedAt = date }
        version.backends = [
            StoredBackend(target: BackendTarget(backend: "vault", path: "team/key"), template: nil, required: true)
        ]
        return version
    }
}
