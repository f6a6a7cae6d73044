package import Foundation

/// How a lost answer to `issue` is resolved. The kind decides the order of journal and call.
package enum IssuerKind: String, Sendable, Codable {
    /// The value is chosen by us, sealed first, then set: repeating it is harmless and no orphan can arise.
    case chosen
    /// The issuer makes the key and can list what exists, so that a lost one is found.
    case listable
    /// The issuer makes the key and cannot list: only the expiry bounds a lost one.
    case unlistable
    /// The issuer has a fixed set of slots; issuing overwrites the idle one.
    case slots
}

/// What the planner and `validate` need to know of a type of issuer without talking to it.
package struct IssuerTraits: Sendable {
    package let kind: IssuerKind
    /// How many keys may exist at once, current and pending and previous together; `nil` when there is no such limit.
    package let keyLimit: Int?
    /// Whether a key's end is enforced by the issuer. When not, `lifetime` is only the policy's word.
    package let enforcesExpiry: Bool
    /// Whether ``Issuer/check(_:)`` can tell that a key works.
    package let checks: Bool
    /// Whether a key can be switched off and on again (``DisablesKeys``).
    package let disables: Bool
    /// Whether the last use of a key is told (``ReportsLastUse``).
    package let reportsLastUse: Bool
    /// Whether revoking a key ends it. Where nobody but its consumers knows a key, there is nobody to end it.
    package let revokes: Bool

    package init(
        kind: IssuerKind, keyLimit: Int? = nil, enforcesExpiry: Bool = false, checks: Bool, disables: Bool = false,
        reportsLastUse: Bool = false, revokes: Bool = true
    ) {
        self.revokes = revokes
        self.kind = kind
        self.keyLimit = keyLimit
        self.enforcesExpiry = enforcesExpiry
        self.checks = checks
        self.disables = disables
        self.reportsLastUse = reportsLastUse
    }
}

/// One attempt to make a key.
package struct IssueRequest: Sendable {
    package let lineage: Lineage
    /// The policy's `issue` parameters, checked against the issuer's schema.
    package let parameters: Parameters
    /// Validity asked for, in seconds; `nil` for a key that never expires.
    package let lifetime: Int64?
    /// When the intent was journaled, UTC.
    package let intendedAt: Date
    /// Seconds that have passed since then for certain, where the clock may be wrong: what a key that does not show up is
    /// given to do so. 0 while it is first asked for.
    package let waited: Double
    /// Issuer key ids of the versions that the journal knows for this secret.
    package let knownKeyIDs: [String]
    /// The key that consumers use now, which must go on working; `nil` before the first.
    package let current: KeyHandle?
    /// Whether the next key may be made out of the current one: the same issuer made it, and it did not leak, since whoever
    /// has it could do the same. Never when an outcome is resolved.
    package let mayRenew: Bool

    package init(
        lineage: Lineage, parameters: Parameters, lifetime: Int64?, intendedAt: Date, waited: Double = 0,
        knownKeyIDs: [String], current: KeyHandle? = nil, mayRenew: Bool = false
    ) {
        self.waited = waited
        self.current = current
        self.mayRenew = mayRenew
        self.lineage = lineage
        self.parameters = parameters
        self.lifetime = lifetime
        self.intendedAt = intendedAt
        self.knownKeyIDs = knownKeyIDs
    }
}

/// What must be durable before a key is asked for.
package struct IssuePreparation: Sendable {
    /// Facts that ``Issuer/resolve(_:prepared:)`` needs after a crash, such as the key ids that existed. No secrets.
    package let notes: [String: String]
    /// The key itself, where it is chosen by us. It is sealed into the journal with the intent.
    package let chosen: KeyMaterial?

    package init(notes: [String: String] = [:], chosen: KeyMaterial? = nil) {
        self.notes = notes
        self.chosen = chosen
    }
}

/// What became of a key whose answer was lost.
package enum IssueResolution: Sendable {
    /// It was never made; asking again is safe.
    case neverMade
    /// It is there and usable (only where it was chosen by us).
    case made(IssuedKey)
    /// It was made and its text is gone: these key ids carry our lineage, revoke them and issue again.
    case orphaned(keyIDs: [String])
    /// The issuer cannot tell; at the latest it dies at this time (`nil`: never).
    case unknowable(diesAt: Date?)
    /// Too early to tell; ask again after this many seconds.
    case undecided(retryAfter: Double)
    /// Keys are there that may be ours or another's: a person decides. The sentence says which and why.
    case ambiguous(String)
}

/// A key that exists at the issuer, as the engine hands it back for checks and retirement.
package struct KeyHandle: Sendable {
    package let secret: SecretName
    package let version: Int
    package let keyID: String?
    /// The key, when the journal still has it.
    package let material: KeyMaterial?
    /// The `issue` parameters with which it was made.
    package let parameters: Parameters

    package init(secret: SecretName, version: Int, keyID: String?, material: KeyMaterial?, parameters: Parameters) {
        self.secret = secret
        self.version = version
        self.keyID = keyID
        self.material = material
        self.parameters = parameters
    }
}

/// Whether a key works, in the issuer's own words.
package enum KeyCheck: Sendable, Equatable {
    case works
    /// Not accepted, in a way that passes while a change spreads. The sentence says what was answered.
    case notYet(String)
    /// Refused for good.
    case refused(String)
    /// This issuer has no way to tell.
    case cannotTell
}

/// Makes, checks and revokes keys.
///
/// Contract for implementers:
/// - Calls for different secrets run at the same time; calls for one secret never do.
/// - ``prepare(_:)`` changes nothing. Its answer is durable before ``issue(_:prepared:)`` is called.
/// - `issue` is called at most once for one lineage, unless ``resolve(_:prepared:)`` answered `neverMade`, or the kind
///   is `chosen` or `slots`, where it must be repeatable with the same preparation.
/// - When `issue` throws with `mayHaveTakenEffect`, the engine asks `resolve` before it does anything else.
/// - ``revoke(_:)`` succeeds when the key is already gone, and only ever touches the key it is given.
/// - Errors are `SystemError`s without values or raw answers. Cancellation throws one with the code `cancelled`.
package protocol Issuer: Sendable {
    var traits: IssuerTraits { get }

    /// Gathers what must be known before the call; chooses the value where it is ours to choose. Read-only.
    func prepare(_ request: IssueRequest) async throws(SystemError) -> IssuePreparation

    /// Makes the key.
    func issue(_ request: IssueRequest, prepared: IssuePreparation) async throws(SystemError) -> IssuedKey

    /// Finds out what became of an `issue` whose answer was lost. Read-only.
    func resolve(_ request: IssueRequest, prepared: IssuePreparation) async throws(SystemError) -> IssueResolution

    /// Whether the key works now. Throws only when the question could not be asked.
    func check(_ key: KeyHandle) async throws(SystemError) -> KeyCheck

    /// Ends the key for good.
    func revoke(_ key: KeyHandle) async throws(SystemError)

    /// A harmless question that shows whether the system is reachable and our credential may ask about the subject which
    /// `parameters` name. Read-only; an issuer that asks nobody has nothing to do.
    func probe(_ parameters: Parameters) async throws(SystemError)
}

extension Issuer {
    package func probe(_ parameters: Parameters) async throws(SystemError) {}
}

/// The power to switch a key off and on again.
package protocol DisablesKeys: Issuer {
    /// Idempotent; a key that is gone is an error `notFound`.
    func disable(_ key: KeyHandle) async throws(SystemError)
    /// Idempotent.
    func enable(_ key: KeyHandle) async throws(SystemError)
}

/// The power to tell when a key was last used.
package protocol ReportsLastUse: Issuer {
    /// UTC; `nil` when it was never used.
    func lastUse(of key: KeyHandle) async throws(SystemError) -> Date?
}

/// The power to read a key in the form in which the issuer's console hands it out, for `adopt`.
package protocol ReadsDownloadedKeys: Issuer {
    /// - Throws: ``InvalidAdoptedKey``, which holds nothing of the content.
    func read(_ content: SecretValue, now: Date) throws(InvalidAdoptedKey) -> IssuedKey
}

/// A key as the issuer lists it.
package struct ListedKey: Sendable {
    package let keyID: String
    package let createdAt: Date?
    /// The lineage it carries, where the issuer has room for one.
    package let lineage: Lineage?

    package init(keyID: String, createdAt: Date?, lineage: Lineage?) {
        self.keyID = keyID
        self.createdAt = createdAt
        self.lineage = lineage
    }
}

/// The power to list what exists, for `orphans` and for recovery.
package protocol ListsKeys: Issuer {
    /// All keys that exist for the subject which `parameters` name (a user, an account).
    func keys(for parameters: Parameters) async throws(SystemError) -> [ListedKey]
}
