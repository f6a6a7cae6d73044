/// Where a version of a secret stands between its creation and its end.
package enum Stage: String, Codable, Sendable, CaseIterable {
    /// Made by the issuer, not yet given to any consumer as current.
    case pending
    /// The one that consumers get.
    case current
    /// Replaced, and still valid during the grace.
    case previous
    /// Switched off at the issuer and observed; can be switched on again.
    case disabled
    /// Revoked at the issuer and pruned from the backends.
    case retired
    /// Never became current; undone.
    case abandoned

    /// Whether a key in this stage may still exist at its issuer.
    package var mayExistAtIssuer: Bool {
        switch self {
        case .pending, .current, .previous, .disabled: true
        case .retired, .abandoned: false
        }
    }

    /// Whether a consumer that holds such a key is entitled to have it work.
    package var mustWork: Bool { self == .current || self == .previous }
}
