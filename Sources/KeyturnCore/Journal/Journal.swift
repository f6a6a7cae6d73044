package import Foundation

/// The durable record of intents and outcomes.
///
/// Contract for implementers:
/// - What a call that returned has written survives a crash of process or machine; a call that threw wrote nothing.
/// - A secret is changed only under a ``Lease``. ``commit(_:under:)`` is one transaction; it fails with `leaseLost` when the
///   lease's token is no longer the newest of the secret, so that a process that slept past its lease changes nothing.
/// - A call is never cut short by the cancellation of the calling task: what a step did must be recorded.
/// - Reads need no lease and see only committed states.
/// - Values come in sealed and go out sealed; the journal never sees one open.
/// - Audit entries are chained: each holds the hash of the one before, whatever secret it is about.
package protocol Journal: Sendable {
    func installation() async throws(JournalError) -> Installation

    /// What is known of the installation as a whole.
    func installationState() async throws(JournalError) -> InstallationState
    /// Changes that, and writes what goes with it, in one transaction. `change` may be called with a later state than the
    /// caller has seen.
    func changeInstallation(
        audit: [AuditEvent], alerts: [QueuedAlert], _ change: @escaping @Sendable (inout InstallationState) -> Void
    ) async throws(JournalError)
    /// Has every secret looked at and every alert tried at `date`, unless that is due earlier: their times come from a
    /// clock that was wrong.
    func lookAtAll(at date: Date) async throws(JournalError)
    /// Accepts a state that is behind its backends: the next generation begins, nothing is frozen any more, and every
    /// secret is due for a look.
    func beginGeneration(at date: Date, audit: AuditEvent) async throws(JournalError)

    func record(of secret: SecretName) async throws(JournalError) -> SecretRecord?
    /// All records, by name.
    func records() async throws(JournalError) -> [SecretRecord]

    /// Takes the right to change a secret for a while. `nil` when another owner's lease is not over when `term` begins.
    /// A secret that is not known yet is made known.
    func claim(_ secret: SecretName, owner: String, term: LeaseTerm) async throws(JournalError) -> Lease?
    /// Begins its time anew. Throws `leaseLost` when another has taken it.
    func renew(_ lease: Lease, term: LeaseTerm) async throws(JournalError)
    /// Gives it back; a lost lease is no error.
    func release(_ lease: Lease) async throws(JournalError)

    /// Writes all of the change, or nothing.
    func commit(_ change: JournalChange, under lease: Lease) async throws(JournalError)

    /// Secrets whose next due time is at or before `date`, earliest first, from an index.
    func due(by date: Date, limit: Int) async throws(JournalError) -> [DueSecret]

    /// Sets or lifts the pause of a secret; needs no lease, so that it works beside a running daemon. Audited.
    func setPaused(_ paused: Bool, of secret: SecretName, at date: Date, actor: String) async throws(JournalError)
    /// Asks for a rotation; needs no lease either. One that was asked for before and is not fulfilled stays compromised
    /// if it was. Audited.
    func request(
        _ request: SecretRecord.RotationRequest, of secret: SecretName, actor: String
    ) async throws(JournalError)
    /// Asks that the promoted value be put back where a backend holds another; needs no lease. Audited.
    func requestRepair(of secret: SecretName, at date: Date, actor: String) async throws(JournalError)
    /// What people ask of a secret at this moment.
    func wishes(of secret: SecretName) async throws(JournalError) -> SecretWishes

    /// Adds an entry that is about no change of a secret.
    func audit(_ event: AuditEvent) async throws(JournalError)
    /// Entries in order, after sequence number `after` (0: from the beginning).
    func auditEntries(
        of secret: SecretName?, after: Int64, limit: Int
    ) async throws(JournalError) -> [AuditEntry]

    /// Queues an alert that is about no change of a secret.
    func enqueue(_ alerts: [QueuedAlert]) async throws(JournalError)
    /// Alerts that are to be delivered at `now`, oldest first.
    func dueAlerts(at now: Date, limit: Int) async throws(JournalError) -> [QueuedAlert]
    /// The alert is delivered, or given up.
    func removeAlert(_ alert: QueuedAlert) async throws(JournalError)
    /// The alert is tried again later.
    func postponeAlert(_ alert: QueuedAlert, until: Date) async throws(JournalError)

    func orphans() async throws(JournalError) -> [OrphanRecord]
    /// Replaces the orphan with the same id. Audited by the caller.
    func putOrphan(_ orphan: OrphanRecord) async throws(JournalError)

    // MARK: Emergencies

    /// The switches that are set, that of everything first, then by issuer.
    func switches() async throws(JournalError) -> [PauseSwitch]
    /// Sets a switch; needs no lease. One of the same scope that is set stays as it was. Audited.
    func setSwitch(_ pause: PauseSwitch) async throws(JournalError)
    /// Lifts a switch, and makes every secret due at `date`, to be looked at again. The switch of everything takes the
    /// count of failures with it. Audited.
    ///
    /// - Returns: the switch that was set, if there was one.
    func liftSwitch(
        _ scope: PauseSwitch.Scope, at date: Date, actor: String
    ) async throws(JournalError) -> PauseSwitch?
    /// Takes a place among the rotations of this hour, for all processes on this state. Secrets whose record waits for one
    /// go by the expiry of their keys; who gets a place stands in line no more.
    ///
    /// - Returns: `nil` when the place is taken; else when to ask again.
    func takePlace(_ request: RotationPlaces.Request) async throws(JournalError) -> Date?
    /// How many rotations have failed since the last one that succeeded.
    func failuresInARow() async throws(JournalError) -> Int
}

/// Who wrote this journal.
package struct Installation: Sendable, Codable, Equatable {
    /// A random UUID, made when the journal was.
    package let instance: String
    /// Grows each time the journal is restored and accepted.
    package let generation: Int

    package init(instance: String, generation: Int) {
        self.instance = instance
        self.generation = generation
    }
}

/// The right to change one secret for a while.
package struct Lease: Sendable, Equatable {
    package let secret: SecretName
    package let owner: String
    /// Grows with every claim of the secret.
    package let token: Int64

    package init(secret: SecretName, owner: String, token: Int64) {
        self.secret = secret
        self.owner = owner
        self.token = token
    }
}

/// For how long a lease keeps others away. It ends by the time that has passed for certain: a wall clock that was set
/// ahead takes no secret from a process that is at work on it.
package struct LeaseTerm: Sendable, Codable, Equatable {
    package let from: ClockReading
    package let seconds: Double

    package init(from: ClockReading, seconds: Double) {
        self.from = from
        self.seconds = seconds
    }

    /// Seconds of it that are left; negative when it is over.
    package func remaining(at reading: ClockReading) -> Double { seconds - reading.elapsed(since: from) }

    package func isOver(at reading: ClockReading) -> Bool { remaining(at: reading) <= 0 }
}

/// One durable change of a secret.
package struct JournalChange: Sendable {
    /// The whole new state.
    package var record: SecretRecord
    /// When the secret wants attention next; `nil`: never by itself.
    package var nextDue: Date?
    package var audit: [AuditEvent]
    package var alerts: [QueuedAlert]
    package var orphans: [OrphanRecord]
    /// A request that is fulfilled by this change. One that came in its place since then stays.
    package var fulfilled: SecretRecord.RotationRequest?
    /// Whether a rotation ends with this change: a request for one that came too late to be known is fulfilled as well,
    /// unless it asks for more than a new key.
    package var rotates: Bool
    /// The wish for a repair that is fulfilled by this change, by its time. A later one stays.
    package var repaired: Date?
    /// How a rotation came out, when this change ends one.
    package var tally: RotationTally?

    package init(
        record: SecretRecord, nextDue: Date?, audit: [AuditEvent] = [], alerts: [QueuedAlert] = [],
        orphans: [OrphanRecord] = [], fulfilled: SecretRecord.RotationRequest? = nil, rotates: Bool = false,
        repaired: Date? = nil, tally: RotationTally? = nil
    ) {
        self.repaired = repaired
        self.fulfilled = fulfilled
        self.rotates = rotates
        self.tally = tally
        self.record = record
        self.nextDue = nextDue
        self.audit = audit
        self.alerts = alerts
        self.orphans = orphans
    }
}

extension JournalChange {
    /// Whether this change is what `request` asks for.
    package func fulfills(_ request: SecretRecord.RotationRequest) -> Bool {
        request == fulfilled || rotates && !request.compromised && !request.rollsBack
    }
}

/// What people ask of a secret. It is kept apart from the record that the engine writes, so that asking needs no lease.
package struct SecretWishes: Sendable, Equatable {
    package let pausedSince: Date?
    package let request: SecretRecord.RotationRequest?
    package let repairSince: Date?

    package init(
        pausedSince: Date? = nil, request: SecretRecord.RotationRequest? = nil, repairSince: Date? = nil
    ) {
        self.pausedSince = pausedSince
        self.request = request
        self.repairSince = repairSince
    }
}

package struct DueSecret: Sendable, Equatable {
    package let secret: SecretName
    package let at: Date

    package init(secret: SecretName, at: Date) {
        self.secret = secret
        self.at = at
    }
}

/// An alert on its way to one sink.
package struct QueuedAlert: Sendable, Codable, Equatable {
    package let event: AlertEvent
    /// The sink's name in keyturn.yaml.
    package let sink: String
    /// Tries so far.
    package var attempts: Int
    package var nextAttempt: Date

    package init(event: AlertEvent, sink: String, attempts: Int = 0, nextAttempt: Date) {
        self.event = event
        self.sink = sink
        self.attempts = attempts
        self.nextAttempt = nextAttempt
    }
}

/// A key that may exist at an issuer without a place in the journal.
package struct OrphanRecord: Sendable, Codable, Equatable {
    package enum State: String, Sendable, Codable {
        /// The answer was lost and nothing can be asked.
        case possible
        /// It is there and may be ours; a person decides.
        case undecided
        /// Revoked, adopted, or past its end.
        case closed
    }

    /// Unique: secret, version and nonce.
    package let id: String
    package let secret: SecretName
    package let version: Int
    package let issuer: String
    package let keyID: String?
    package let issueParameters: Parameters
    package var state: State
    package let since: Date
    /// When it dies by itself; `nil`: never, or unknown.
    package let until: Date?
    package let detail: String

    package init(
        id: String, secret: SecretName, version: Int, issuer: String, keyID: String?, issueParameters: Parameters,
        state: State, since: Date, until: Date?, detail: String
    ) {
        self.id = id
        self.secret = secret
        self.version = version
        self.issuer = issuer
        self.keyID = keyID
        self.issueParameters = issueParameters
        self.state = state
        self.since = since
        self.until = until
        self.detail = detail
    }
}
