package import Foundation

/// What the planner and `plan` need to know of a type of backend without talking to it.
package struct BackendTraits: Sendable {
    package enum Staging: String, Sendable, Codable {
        /// Holds a pending version that no consumer sees; promoting only moves a label.
        case unseen
        /// The newest write is what consumers get: there the write is the promote.
        case onPromote
    }

    package let staging: Staging
    /// Whether a stored value can be read and compared.
    package let readsBack: Bool
    /// Whether stored versions can be listed.
    package let lists: Bool
    /// Whether an old version can be destroyed there.
    package let destroys: Bool

    package init(staging: Staging, readsBack: Bool, lists: Bool, destroys: Bool) {
        self.staging = staging
        self.readsBack = readsBack
        self.lists = lists
        self.destroys = destroys
    }
}

/// Where in a backend one secret lies.
package struct BackendTarget: Sendable, Hashable, Codable {
    /// The backend's name in keyturn.yaml.
    package let backend: String
    /// The place there: a path, a name.
    package let path: String
    /// Further parameters of the policy's entry, checked against the backend's schema.
    package let parameters: Parameters

    package init(backend: String, path: String, parameters: Parameters = [:]) {
        self.backend = backend
        self.path = path
        self.parameters = parameters
    }

    /// Whether both are one place, whatever their parameters say.
    package func isSamePlace(as other: BackendTarget) -> Bool { backend == other.backend && path == other.path }
}

/// Facts a backend hands out after a step and gets back in later ones, such as its own number for a version. No secrets.
package typealias Receipt = [String: String]

/// One version of a secret as a backend knows it.
package struct VersionReference: Sendable {
    package let secret: SecretName
    package let version: Int
    /// What earlier steps for this version answered here.
    package let receipt: Receipt
    /// The value in the form that this backend stores; `nil` when the journal no longer has it.
    package let value: SecretValue?

    package init(secret: SecretName, version: Int, receipt: Receipt, value: SecretValue?) {
        self.secret = secret
        self.version = version
        self.receipt = receipt
        self.value = value
    }
}

/// A version to be stored.
package struct VersionWrite: Sendable {
    package let secret: SecretName
    package let version: Int
    /// The value in the form that this backend stores (the policy's template is applied).
    package let value: SecretValue
    /// What earlier steps for this version answered here.
    package let receipt: Receipt
    /// The version that should be current there now; `nil` before the first.
    package let replaces: VersionReference?
    /// Marks to write beside the value: which installation wrote it, and in which generation of its journal.
    package let instance: String
    package let generation: Int
    /// UTC; `nil` when it never expires.
    package let expiresAt: Date?
    /// Whether a value that Keyturn did not write may be replaced.
    package let mayOverwrite: Bool

    package init(
        secret: SecretName, version: Int, value: SecretValue, receipt: Receipt, replaces: VersionReference?,
        instance: String, generation: Int, expiresAt: Date?, mayOverwrite: Bool
    ) {
        self.secret = secret
        self.version = version
        self.value = value
        self.receipt = receipt
        self.replaces = replaces
        self.instance = instance
        self.generation = generation
        self.expiresAt = expiresAt
        self.mayOverwrite = mayOverwrite
    }

    /// The same for every repetition of this write and different for every other: hexadecimal SHA-256 of installation,
    /// secret and version. For systems that take a request token.
    package var idempotencyKey: String {
        IdempotencyKey.hex(instance: instance, secret: secret, version: version)
    }
}

/// What a backend did with a version that is to be staged.
package enum StageResult: Sendable {
    /// It is stored, and no consumer sees it.
    case staged(Receipt)
    /// It can't be held unseen here (now): promoting will write it. The sentence says why.
    case deferred(String)
}

/// Which stored value to read.
package enum StoredSelection: Sendable {
    /// What a consumer gets.
    case current
    /// One version, by what its steps answered.
    case version(VersionReference)
}

/// A value as it lies in a backend.
package struct StoredValue: Sendable {
    package let value: SecretValue
    /// The version that the marks beside it name; `nil` when it carries none of ours.
    package let version: Int?
    package let receipt: Receipt

    package init(value: SecretValue, version: Int?, receipt: Receipt) {
        self.value = value
        self.version = version
        self.receipt = receipt
    }
}

/// A version as a backend lists it.
package struct ListedVersion: Sendable {
    /// The backend's own name for it.
    package let identifier: String
    /// Our version number, when the marks beside it tell.
    package let version: Int?
    package let isCurrent: Bool
    /// Whether it carries a mark of ours that says that it is still to become current.
    package let isPending: Bool
    /// What a step for it would have answered, by which it can be named in later ones.
    package let receipt: Receipt

    package init(
        identifier: String, version: Int?, isCurrent: Bool, isPending: Bool = false, receipt: Receipt = [:]
    ) {
        self.identifier = identifier
        self.version = version
        self.isCurrent = isCurrent
        self.isPending = isPending
        self.receipt = receipt
    }
}

/// Stores versions for consumers.
///
/// Contract for implementers:
/// - Calls for different secrets run at the same time; calls for one target never do.
/// - Every call is repeatable: done already is success with the same receipt. After a lost answer it is simply called again.
/// - ``promote(_:at:)`` first looks at what is current: our own value → done; the version that it replaces, or nothing →
///   go on; anything else → an error `conflict`, unless `mayOverwrite`. Where the system has a compare-and-swap, it is used.
/// - Until `promote` returns, or where it fails, consumers get the old value whole or the new value whole.
/// - ``prune(_:at:)`` never touches what is current, and succeeds when the version is already gone.
/// - Errors are `SystemError`s without values or raw answers. Cancellation throws one with the code `cancelled`.
package protocol Backend: Sendable {
    var traits: BackendTraits { get }

    /// The bytes that ``read(_:at:)`` will give for a value that is written there. They are the value itself, unless the
    /// system keeps it in a form of its own, such as the members of a JSON object. Every value that a call hands over is
    /// in this form.
    func normalized(_ value: SecretValue, at target: BackendTarget) throws(SystemError) -> SecretValue

    /// Holds a pending version unseen, or says that it can't.
    func stage(_ write: VersionWrite, at target: BackendTarget) async throws(SystemError) -> StageResult

    /// Makes the version current.
    func promote(_ write: VersionWrite, at target: BackendTarget) async throws(SystemError) -> Receipt

    /// Reads a stored value; `nil` when there is none. Throws `unsupported` where `traits.readsBack` is false.
    func read(_ selection: StoredSelection, at target: BackendTarget) async throws(SystemError) -> StoredValue?

    /// The mark beside what is current; `nil` when it carries none of this installation's, or there is no room for one.
    ///
    /// - Parameter instance: ``Installation/instance``.
    func mark(
        of secret: SecretName, instance: String, at target: BackendTarget
    ) async throws(SystemError) -> WriteMark?

    /// Removes a pending version that will not become current.
    func unstage(_ version: VersionReference, at target: BackendTarget) async throws(SystemError)

    /// Removes a retired version; where the system can't, takes our marks off it.
    func prune(_ version: VersionReference, at target: BackendTarget) async throws(SystemError)

    /// What is stored. Throws `unsupported` where `traits.lists` is false.
    func list(at target: BackendTarget) async throws(SystemError) -> [ListedVersion]

    /// A harmless call that shows whether the system is reachable and our credential may do what rotations need. It changes
    /// nothing there, and makes nothing.
    func probe(_ target: BackendTarget) async throws(SystemError)
}

extension Backend {
    package func normalized(_ value: SecretValue, at target: BackendTarget) throws(SystemError) -> SecretValue { value }

    package func mark(
        of secret: SecretName, instance: String, at target: BackendTarget
    ) async throws(SystemError) -> WriteMark? { nil }
}
