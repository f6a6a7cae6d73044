import Foundation
import KeyturnCore
import KeyturnEngine
import Logging
import TestSupport

/// What the processes of a world work with: an issuer of each kind, backends with and without staging, and the engine over
/// them.
struct WorldSystems {
    let world: World

    static let issuers: [IssuerKind] = [.chosen, .listable, .unlistable, .slots]
    static let backends: [(name: String, staging: BackendTraits.Staging)] = [
        ("staged-1", .unseen), ("direct-1", .onPromote), ("staged-2", .unseen), ("direct-2", .onPromote),
    ]
    static let names = backends.map(\.name) + issuers.map(issuerName)

    static func issuerName(_ kind: IssuerKind) -> String { "issuer-\(kind.rawValue)" }

    func workplace(of process: SimulatedProcess) -> Workplace {
        var issuers: [String: any Issuer] = [:]
        for kind in Self.issuers {
            issuers[Self.issuerName(kind)] = WorldIssuer(kind, process: process, world: world)
        }
        var backends: [String: any Backend] = [:]
        for (name, staging) in Self.backends {
            backends[name] = WorldBackend(name, staging: staging, process: process, world: world)
        }
        return Workplace(policies: world.ordered.map(\.policy), issuers: issuers, backends: backends) {
            (check) throws(SystemError) in throw SystemError(.misconfigured, "no check '\(check.type)'")
        }
    }

    func engine(of process: SimulatedProcess) async throws -> Engine {
        var settings = EngineSettings()
        // Looking at the clock more often than this would only take time: nothing happens unseen in between.
        settings.longestSleep = 7200
        settings.alertInterval = 86_400
        return try await Engine(
            journal: ProcessJournal(process: process, world: world), sealer: OpenSealer(),
            workplace: workplace(of: process), settings: settings, time: process,
            random: SharedRandomness(SeededGenerator(seed: world.random.next())), witnesses: process.witnesses,
            owner: "process-\(process.number)", logger: Logger(label: "simulation") { _ in SwiftLogNoOpLogHandler() })
    }

    /// A policy in which one day of the usual kind is as long as `every`.
    static func policy(
        _ name: SecretName, _ kind: IssuerKind, every: Double, grace: Double, _ targets: [BackendTarget],
        whenUnused: Double? = nil, observe: Double? = nil, edition: Int, issueDigest: String = "issue"
    ) -> Policy {
        func duration(_ seconds: Double) -> PolicyDuration? { PolicyDuration(seconds: Int64(seconds)) }
        guard let recurrence = duration(every), let grace = duration(grace) else {
            preconditionFailure("durations of simulated policies are at least a second")
        }
        return Policy(
            secret: name, issuer: issuerName(kind), issue: [:], lifetime: duration(every * 4),
            rotation: RotationSchedule(
                recurrence: .every(recurrence), timeZone: .gmt, renewBefore: duration(every),
                jitter: duration(every / 20)),
            grace: grace, backends: targets.map { PolicyBackend(target: $0) },
            retirement: RetirementRule(whenUnused: whenUnused.flatMap(duration), observe: observe.flatMap(duration)),
            origin: PolicyOrigin(
                file: "simulated.yaml", line: 1, writtenAt: [:], digest: "\(edition)", issueDigest: issueDigest,
                scheduleDigest: "\(every)"))
    }
}
