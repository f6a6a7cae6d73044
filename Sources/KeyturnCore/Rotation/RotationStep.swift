/// One outside effect of a rotation or a retirement.
package enum RotationStep: Sendable, Hashable {
    case issue
    case stage(backend: String)
    case verify
    case promote(backend: String)
    case unstage(backend: String)
    case disable
    /// A key that was switched off is switched on again.
    case enable
    case revoke
    /// A revoked key is shown to work no longer.
    case proveRefused
    case prune(backend: String)

    /// The word for logs, audit and JSON, such as `promote:vault`.
    package var text: String {
        switch self {
        case .issue: "issue"
        case .stage(let backend): "stage:\(backend)"
        case .verify: "verify"
        case .promote(let backend): "promote:\(backend)"
        case .unstage(let backend): "unstage:\(backend)"
        case .disable: "disable"
        case .enable: "enable"
        case .revoke: "revoke"
        case .proveRefused: "prove-refused"
        case .prune(let backend): "prune:\(backend)"
        }
    }
}
