/// What the doctor looks at, in the order in which it is shown.
enum DoctorSection: String, CaseIterable, Sendable {
    case configuration, files, state, lock, systems, clock, orphans, drift, secrets, alerts, leftovers
}

/// One thing that is not as it should be, or worth knowing. It has no place for a value.
struct DoctorFinding: Sendable {
    enum Severity: String, Sendable, Comparable {
        /// Worth knowing; nothing is wrong.
        case note
        /// It wants a look before it becomes an error.
        case warning
        /// It stands in the way of a rotation, or of safety.
        case error

        static func < (left: Severity, right: Severity) -> Bool { left.rank < right.rank }

        private var rank: Int {
            switch self {
            case .note: 0
            case .warning: 1
            case .error: 2
            }
        }
    }

    /// Makes a finding good, and says what was done. Only what is safe has one.
    typealias Fix = @Sendable () async throws -> String

    let section: DoctorSection
    let severity: Severity
    /// The secret that it is about.
    let secret: String?
    /// One sentence.
    let sentence: String
    /// The command that mends it, or what to do; empty when there is nothing to do.
    let mend: String
    /// What the command ends with because of it.
    let status: ExitStatus
    let fix: Fix?

    init(
        _ section: DoctorSection, _ severity: Severity, _ sentence: String, mend: String = "", secret: String? = nil,
        status: ExitStatus? = nil, fix: Fix? = nil
    ) {
        self.section = section
        self.severity = severity
        self.secret = secret
        self.sentence = sentence
        self.mend = mend
        self.status = status ?? (severity == .note ? .done : .failed)
        self.fix = fix
    }
}
