import Foundation
import KeyturnCore
import KeyturnEngine
import Logging
import Synchronization
import TestSupport
import Testing

/// An engine over simulated systems, with time in the test's hand. A new engine over the same systems is a restart.
struct EngineHarness {
    static let secret = "team/key"

    let time = ManualTimekeeper(startingAt: Date(timeIntervalSince1970: 1_800_000_000))
    let plan = CrashPlan()
    var journal = MemoryJournal()
    let issuer: SimulatedIssuer
    let staged: SimulatedBackend
    let direct: SimulatedBackend
    let sink = CollectingSink()
    let witnesses = ClockWitnesses()
    let random = SharedRandomness(SeededGenerator(seed: 7))
    let log = CollectingLog()
    var settings = EngineSettings()
    var policies: [Policy]
    var verifier: @Sendable (PolicyCheck) throws(SystemError) -> any KeyVerifier = { (check) throws(SystemError) in
        throw SystemError(.misconfigured, "no check '\(check.type)'")
    }

    init(kind: IssuerKind = .listable, keyLimit: Int? = nil, policies: [Policy]? = nil) throws {
        issuer = SimulatedIssuer(kind: kind, keyLimit: keyLimit, plan: plan, time: time)
        staged = SimulatedBackend("staged", staging: .unseen, plan: plan)
        direct = SimulatedBackend("direct", staging: .onPromote, plan: plan)
        settings.verifyPatience = 10
        settings.readBackPatience = 10
        self.policies = try policies ?? [Self.policy()]
    }

    var name: SecretName { get throws { try SecretName(Self.secret) } }

    func engine(owner: String = "test") async throws -> Engine {
        try await Engine(
            journal: CrashingJournal(journal, plan: plan), sealer: OpenSealer(), workplace: workplace,
            settings: settings, time: time, random: random, witnesses: witnesses, owner: owner,
            logger: Logger(label: "test") { [log] _ in CollectingLogHandler(log: log) })
    }

    var workplace: Workplace {
        Workplace(
            policies: policies, issuers: ["issuer": issuer], backends: ["staged": staged, "direct": direct],
            sinks: ["sink": sink], verifier: verifier)
    }

    func record(_ secret: String = EngineHarness.secret) async throws -> SecretRecord {
        try #require(await journal.record(of: try SecretName(secret)))
    }

    /// One pass of a fresh engine, at the present time.
    @discardableResult
    func pass() async throws -> [WorkOutcome] { try await engine().pass() }

    /// A policy with two required backends, one of each staging power.
    static func policy(
        _ secret: String = EngineHarness.secret, every: String = "30d", lifetime: String? = "60d",
        renewBefore: String? = "20d", grace: String = "2d", retirement: RetirementRule = RetirementRule(),
        checks: [PolicyCheck] = [], after: [String] = [], staged: Bool = true, directRequired: Bool = true,
        overwrite: Bool = false, digest: String = "digest", issueDigest: String = "issue"
    ) throws -> Policy {
        var backends: [PolicyBackend] = []
        if staged {
            backends.append(PolicyBackend(target: BackendTarget(backend: "staged", path: secret), overwrite: overwrite))
        }
        backends.append(
            PolicyBackend(
                target: BackendTarget(backend: "direct", path: secret), required: directRequired, overwrite: overwrite))
        return Policy(
            secret: try SecretName(secret), issuer: "issuer", issue: [:],
            lifetime: try lifetime.map { try PolicyDuration($0) },
            rotation: RotationSchedule(
                recurrence: .every(try PolicyDuration(every)), timeZone: try #require(TimeZone(identifier: "UTC")),
                renewBefore: try renewBefore.map { try PolicyDuration($0) }),
            grace: try PolicyDuration(grace), backends: backends, checks: checks, retirement: retirement,
            after: try after.map { try SecretName($0) },
            origin: PolicyOrigin(
                file: "test.yaml", line: 1, writtenAt: [:], digest: digest, issueDigest: issueDigest,
                scheduleDigest: "\(every) \(lifetime ?? "never") \(renewBefore ?? "")"))
    }
}

/// Collects lines of the log.
final class CollectingLog: Sendable {
    struct Line: Sendable {
        let message: String
        let facts: [String: String]
    }

    private let state = Mutex<[Line]>([])

    var lines: [Line] { state.withLock { $0 } }
    func add(_ line: Line) { state.withLock { $0.append(line) } }
}

struct CollectingLogHandler: LogHandler {
    let log: CollectingLog
    var logLevel = Logger.Level.notice
    var metadata: Logger.Metadata = [:]

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { metadata[key] }
        set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
        log.add(
            CollectingLog.Line(message: "\(event.message)", facts: (event.metadata ?? [:]).mapValues { "\($0)" }))
    }
}

/// Collects what it is told.
final class CollectingSink: AlertSink, Sendable {
    private let state = Mutex<(events: [AlertEvent], failures: [SystemError])>(([], []))

    var events: [AlertEvent] { state.withLock { $0.events } }
    var kinds: [AlertEvent.Kind] { events.map(\.kind) }
    func fail(with errors: [SystemError]) { state.withLock { $0.failures = errors } }

    func deliver(_ event: AlertEvent) async throws(SystemError) {
        let failure: SystemError? = state.withLock { state in
            guard state.failures.isEmpty else { return state.failures.removeFirst() }
            state.events.append(event)
            return nil
        }
        if let failure { throw failure }
    }
}
