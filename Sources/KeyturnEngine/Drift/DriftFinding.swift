package import KeyturnCore

/// One place where a backend and the journal do not agree, or that could not be asked. It has no place for a value.
package struct DriftFinding: Sendable {
    package enum Kind: String, Sendable, Codable, CaseIterable {
        /// The value that consumers get is not the one that was promoted.
        case valueDiffers = "value-differs"
        /// Consumers get no value.
        case valueMissing = "value-missing"
        /// Another version of ours is current there.
        case currentDisagrees = "current-disagrees"
        /// A pending version lies there, and no rotation will make it current.
        case pendingLeft = "pending-left"
        /// A version that is retired lies there still.
        case notPruned = "not-pruned"
        /// A version lies there that carries our marks and that the journal does not know.
        case unknownVersion = "unknown-version"
        /// The backend can't be read back, so that nobody can tell.
        case notReadable = "not-readable"
        /// The backend did not answer.
        case notAsked = "not-asked"
    }

    /// What a finding means for the whole.
    package enum Weight: Sendable {
        case drift
        case notAsked
        case note
    }

    /// A version that is over and lies there still.
    struct Leftover: Sendable {
        let reference: VersionReference
        /// Whether it never became current there.
        let isPending: Bool
    }

    package let secret: SecretName
    /// The version that should be current.
    package let version: Int
    package let target: BackendTarget
    package let kind: Kind
    /// One sentence.
    package let sentence: String
    /// The command that mends it, or what to do.
    package let mend: String
    /// Why a backend could not be asked.
    package let error: SystemError?
    let leftover: Leftover?

    init(
        _ kind: Kind, of secret: SecretName, version: Int, at target: BackendTarget, _ sentence: String, mend: String,
        error: SystemError? = nil, leftover: Leftover? = nil
    ) {
        self.secret = secret
        self.version = version
        self.target = target
        self.kind = kind
        self.sentence = sentence
        self.mend = mend
        self.error = error
        self.leftover = leftover
    }

    package var weight: Weight {
        switch kind {
        case .valueDiffers, .valueMissing, .currentDisagrees, .pendingLeft, .notPruned, .unknownVersion: .drift
        case .notAsked: .notAsked
        case .notReadable: .note
        }
    }

    /// Whether writing the promoted value again makes it good.
    var isMendedByPromoting: Bool {
        switch kind {
        case .valueDiffers, .valueMissing, .currentDisagrees: true
        case .pendingLeft, .notPruned, .unknownVersion, .notReadable, .notAsked: false
        }
    }
}

/// What a look at the backends came to.
package struct DriftReport: Sendable {
    /// Secrets that have a current version.
    package internal(set) var secrets = 0
    /// Places that were asked, and those of them that answered.
    package internal(set) var places = 0
    package internal(set) var answered = 0
    package internal(set) var findings: [DriftFinding] = []

    package var isDrifted: Bool { findings.contains { $0.weight == .drift } }
    package var isIncomplete: Bool { findings.contains { $0.weight == .notAsked } }
    /// Whether there was somebody to ask, and nobody answered.
    package var reachedNothing: Bool { places > 0 && answered == 0 && isIncomplete }
}
