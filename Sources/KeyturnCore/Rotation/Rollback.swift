package import Foundation

/// Which version a rollback leads to, and why there may be none.
package enum Rollback {
    /// The version that was current before the present one: by the stages that versions went through, never by number.
    ///
    /// - Throws: ``RollbackRefusal``.
    package static func target(
        in record: SecretRecord, under policy: Policy?, _ installation: InstallationState = InstallationState(),
        at now: Date
    ) throws(RollbackRefusal) -> VersionRecord {
        if let freeze = installation.freeze { throw .frozen(freeze) }
        guard let policy else { throw .noPolicy }
        guard let current = record.current else { throw .noCurrent }
        if record.request?.compromised == true { throw .compromised(current.number) }
        if let rotation = record.rotation, rotation.machine.isPastFirstPromote {
            throw .underWay(version: rotation.version)
        }
        let latest = record.leaving.max { left, right in
            (left.promotedAt ?? left.issuedAt, left.number) < (right.promotedAt ?? right.issuedAt, right.number)
        }
        guard let version = latest else { throw .noPrevious }
        if version.tainted { throw .compromised(version.number) }
        if version.isRevoked || version.sealed == nil { throw .revoked(version.number) }
        if let expiresAt = version.expiresAt, expiresAt <= now { throw .expired(version.number, at: expiresAt) }
        var returned = version
        returned.promotedAt = now
        let timing = RotationTiming.next(policy: policy, current: returned, schedule: record.schedule)
        if let last = timing?.lastSafeStart, last <= now, let expiresAt = version.expiresAt {
            throw .expiresTooSoon(version.number, at: expiresAt)
        }
        return version
    }
}

/// Why a secret can't be rolled back.
package enum RollbackRefusal: Error, Sendable, Equatable, CustomStringConvertible {
    case noPolicy
    case noCurrent
    /// Nothing that was current before is alive any more.
    case noPrevious
    case compromised(Int)
    case revoked(Int)
    case expired(Int, at: Date)
    case expiresTooSoon(Int, at: Date)
    case underWay(version: Int)
    /// In one sentence.
    case frozen(String)

    package var description: String {
        switch self {
        case .frozen(let sentence): sentence
        case .noPolicy: "no policy names it any more"
        case .noCurrent: "it has no current version yet"
        case .noPrevious: "no version before the current one is still valid"
        case .compromised(let version): "version \(version) is compromised and is never made current again"
        case .revoked(let version): "version \(version) is revoked already"
        case .expired(let version, let date): "version \(version) expired at \(date.formatted(.iso8601))"
        case .expiresTooSoon(let version, let date):
            "version \(version) expires at \(date.formatted(.iso8601)), before another rotation could be done"
        case .underWay(let version):
            "version \(version) is on its way to consumers, and only goes forward; wait until it is current everywhere"
        }
    }

    /// What to do instead.
    package var advice: String {
        switch self {
        case .noPolicy: "write a policy for it first"
        case .frozen: "`keyturn explain` says what was found"
        case .noCurrent, .noPrevious, .compromised, .revoked, .expired, .expiresTooSoon:
            "`keyturn rotate` makes a new key"
        case .underWay: "`keyturn status` shows how far it is; then roll back"
        }
    }
}
