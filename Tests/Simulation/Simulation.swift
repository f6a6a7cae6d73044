import Foundation
import KeyturnCore
import KeyturnEngine
import Logging
import TestSupport

/// A whole installation of Keyturn over a simulated world, driven by one seed: the real engine and planner, with time,
/// disk, issuers, backends and consumers under the simulation's control. The same seed gives the same history.
package struct Simulation: Sendable {
    package var seed: UInt64
    /// How long things go wrong, in simulated days; then they heal, and everything must come to rest.
    package var days = 20.0
    package var secrets = 6
    package var faults = Faults()

    package init(seed: UInt64) { self.seed = seed }

    package struct Outcome: Sendable {
        package let seed: UInt64
        /// The first promise that was broken; `nil` when all were kept.
        package let violation: String?
        package let counts: World.Counts
        /// The newest events, oldest first.
        package let trace: [String]
    }

    package func run() -> Outcome {
        let world = World(seed: seed, faults: faults)
        let executor = SimulationExecutor(seed: seed &* 0x9E37_79B9 &+ 1)
        let site = Site(world: world, secrets: secrets, days: days)
        let finished = Flag()
        Task(executorPreference: executor) {
            await site.live()
            finished.isSet = true
        }
        var steps = 0
        while true {
            executor.runUntilIdle()
            if finished.isSet { break }
            steps += 1
            if steps > 20_000_000 { world.fail(7, "it never comes to rest") }
            guard world.clock.advance() else {
                world.fail(7, "everything waits for nothing")
                break
            }
        }
        return Outcome(seed: seed, violation: world.violation, counts: world.counts, trace: world.recentTrace(400))
    }

    private final class Flag: @unchecked Sendable {
        // @unchecked: used by the simulation's one thread alone.
        var isSet = false
    }
}

/// The people and machines of one simulated installation.
final class Site: @unchecked Sendable {
    // @unchecked: used by the simulation's one thread alone.
    private let world: World
    private let secretCount: Int
    private let end: Double
    private let deadline: Double
    private var lives = 0
    private var engine: Engine?
    private var process: SimulatedProcess?
    private var edits = 0
    /// Runs outside every process: the operator and the clock on the wall.
    private let outside: SimulatedProcess

    private static let issuers: [IssuerKind] = [.chosen, .listable, .unlistable, .slots]
    private static let backends: [(name: String, staging: BackendTraits.Staging)] = [
        ("staged-1", .unseen), ("direct-1", .onPromote), ("staged-2", .unseen), ("direct-2", .onPromote),
    ]
    private static let hour = 3600.0

    init(world: World, secrets: Int, days: Double) {
        self.world = world
        secretCount = secrets
        end = world.clock.now + days * 86_400
        deadline = end + 6 * 86_400
        outside = SimulatedProcess(number: 0, world: world)
    }

    func live() async {
        do { try settle() } catch { return world.fail(7, "the world can't be made: \(error)") }
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await self.keepRunning() }
            while world.clock.now < end, !world.isOver {
                try? await outside.wait(Self.hour)
                await disturb(&group)
            }
            await heal()
            world.end()
            process?.die("the end")
        }
    }

    // MARK: The installation

    private func settle() throws {
        for index in 0..<secretCount {
            let name = try SecretName("team/key-\(index)")
            let kind = Self.issuers[index % Self.issuers.count]
            let every = [12, 24, 36][Int.random(in: 0..<3, using: &world.random)] * Self.hour
            let grace = every / Double(Int.random(in: 4...8, using: &world.random))
            let first = Int.random(in: 0..<4, using: &world.random)
            let count = Int.random(in: 1...3, using: &world.random)
            let targets = (0..<count).map {
                BackendTarget(backend: Self.backends[(first + $0) % 4].name, path: name.text)
            }
            let quiet = world.chance(0.3) ? 1800.0 : nil
            let observe = world.chance(0.3) && kind != .slots ? 1800.0 : nil
            let world = World.SecretWorld(
                policy: try policy(name, kind, every, grace, targets, quiet: quiet, observe: observe), kind: kind,
                every: every, grace: grace, whenUnused: quiet)
            self.world.secrets[name] = world
            for target in targets { addConsumers(of: name, target, grace) }
        }
    }

    private func addConsumers(of name: SecretName, _ target: BackendTarget, _ grace: Double) {
        for _ in 0..<2 {
            let period = grace * world.between(0.2, 0.9)
            world.consumers.append(World.Consumer(secret: name, target: target, period: period))
            schedule(world.consumers.count - 1, after: world.between(1, period))
        }
    }

    private func schedule(_ index: Int, after seconds: Double) {
        world.clock.after(seconds) { [self] in
            world.consume(index)
            world.checkServed(world.consumers[index].secret)
            if !world.isOver { schedule(index, after: world.consumers[index].period) }
        }
    }

    private func policy(
        _ name: SecretName, _ kind: IssuerKind, _ every: Double, _ grace: Double, _ targets: [BackendTarget],
        quiet: Double?, observe: Double?, issueDigest: String = "issue"
    ) throws -> Policy {
        func duration(_ seconds: Double) -> PolicyDuration? { PolicyDuration(seconds: Int64(seconds)) }
        guard let recurrence = duration(every), let grace = duration(grace) else { throw CancellationError() }
        edits += 1
        return Policy(
            secret: name, issuer: "issuer-\(kind.rawValue)", issue: [:], lifetime: duration(every * 4),
            rotation: RotationSchedule(
                recurrence: .every(recurrence), timeZone: .gmt, renewBefore: duration(every),
                jitter: duration(every / 20)),
            grace: grace, backends: targets.map { PolicyBackend(target: $0) },
            retirement: RetirementRule(
                whenUnused: quiet.flatMap(duration), observe: observe.flatMap(duration)),
            origin: PolicyOrigin(
                file: "simulated.yaml", line: 1, writtenAt: [:], digest: "\(edits)", issueDigest: issueDigest,
                scheduleDigest: "\(every)"))
    }

    private func workplace(_ process: SimulatedProcess) -> Workplace {
        var issuers: [String: any Issuer] = [:]
        for kind in Self.issuers {
            issuers["issuer-\(kind.rawValue)"] = WorldIssuer(kind, process: process, world: world)
        }
        var backends: [String: any Backend] = [:]
        for (name, staging) in Self.backends {
            backends[name] = WorldBackend(name, staging: staging, process: process, world: world)
        }
        return Workplace(
            policies: world.secrets.values.map(\.policy).sorted { $0.secret < $1.secret }, issuers: issuers,
            backends: backends
        ) { (check) throws(SystemError) in throw SystemError(.misconfigured, "no check '\(check.type)'") }
    }

    private func makeEngine(_ process: SimulatedProcess) async throws -> Engine {
        var settings = EngineSettings()
        settings.longestSleep = 600
        settings.alertInterval = 600
        return try await Engine(
            journal: ProcessJournal(process: process, world: world), sealer: OpenSealer(),
            workplace: workplace(process), settings: settings, time: process,
            random: SharedRandomness(SeededGenerator(seed: world.random.next())), owner: "process-\(process.number)",
            logger: Logger(label: "simulation") { _ in SwiftLogNoOpLogHandler() })
    }

    /// The supervisor: starts the process again whenever it ends.
    private func keepRunning() async {
        while !world.isOver {
            await runOnce { [self] engine, process in
                self.engine = engine
                self.process = process
            }
            try? await outside.wait(world.between(1, 120))
        }
    }

    private func runOnce(_ started: (Engine, SimulatedProcess) -> Void) async {
        lives += 1
        let process = SimulatedProcess(number: lives, world: world)
        guard let engine = try? await makeEngine(process) else { return }
        started(engine, process)
        world.trace("process \(process.number) starts")
        do { try await engine.run() } catch { world.trace("process \(process.number) ends: \(error)") }
    }

    // MARK: What goes wrong

    private func disturb(_ group: inout TaskGroup<Void>) async {
        let faults = world.faults
        if world.chance(faults.outage) {
            let systems = Self.backends.map(\.name) + Self.issuers.map { "issuer-\($0.rawValue)" }
            let system = systems[Int.random(in: 0..<systems.count, using: &world.random)]
            let seconds = world.between(60, 3 * Self.hour)
            world.outages[system] = world.clock.now + seconds
            world.trace("\(system) is down for \(Int(seconds)) s")
        }
        if world.chance(faults.diskFull) {
            world.diskFullUntil = world.clock.now + world.between(60, Self.hour)
            world.trace("the disk is full")
        }
        if world.chance(faults.suspension) {
            process?.frozenUntil = world.clock.now + world.between(10, 1200)
            world.trace("process \(process?.number ?? 0) is suspended")
        }
        if world.chance(faults.restart) { engine?.askToStop() }
        if world.chance(faults.secondProcess) { group.addTask { await self.runBesides() } }
        if world.chance(faults.policyEdit) { await edit() }
        if world.chance(faults.command) { await command() }
        await releaseQuarantined()
        world.checkOrphans()
        world.journal.forgetEntries(keeping: 50)
    }

    /// A second process on the same state, for some hours.
    private func runBesides() async {
        let seconds = world.between(Self.hour, 6 * Self.hour)
        await runOnce { [self] engine, process in
            world.clock.after(seconds) { [self] in
                if world.chance(0.5) { engine.askToStop() } else { process.die("a kill") }
            }
        }
    }

    private func anySecret() -> SecretName? {
        let names = world.secrets.keys.sorted()
        return names.isEmpty ? nil : names[Int.random(in: 0..<names.count, using: &world.random)]
    }

    private func edit() async {
        guard let name = anySecret(), var secret = world.secrets[name] else { return }
        let old = secret.policy
        var targets = old.backends.map(\.target)
        var digest = old.origin.issueDigest
        switch Int.random(in: 0..<3, using: &world.random) {
        case 0: digest = "issue-\(edits)"
        case 1 where targets.count > 1:
            let left = targets.removeLast()
            for index in world.consumers.indices where world.consumers[index].target == left {
                world.consumers[index].value = nil
            }
        default:
            let backend = Self.backends[Int.random(in: 0..<4, using: &world.random)].name
            guard !targets.contains(where: { $0.backend == backend }) else { return }
            let target = BackendTarget(backend: backend, path: "\(name)-\(edits)")
            targets.append(target)
            addConsumers(of: name, target, secret.grace)
        }
        guard
            let edited = try? policy(
                name, secret.kind, secret.every, secret.grace, targets, quiet: secret.whenUnused,
                observe: old.retirement.observe?.timeInterval, issueDigest: digest)
        else { return }
        secret.policy = edited
        world.secrets[name] = secret
        world.trace("the policy of \(name) is edited")
        if let engine, let process { try? await engine.reload(workplace(process)) }
    }

    private func command() async {
        guard let name = anySecret(), let engine else { return }
        if world.chance(0.3) {
            world.trace("\(name) is paused")
            world.journal.markPaused(true, of: name, at: outside.now(), actor: "operator")
            world.clock.after(world.between(60, 2 * Self.hour)) { [world, outside] in
                world.journal.markPaused(false, of: name, at: outside.now(), actor: "operator")
            }
            return
        }
        let isCompromised = world.chance(world.faults.compromise / max(world.faults.command, 0.000_1))
        world.secrets[name]?.mayRotateEarly = true
        if isCompromised { world.counts.compromised += 1 }
        world.trace("\(name) is rotated by hand\(isCompromised ? ", compromised" : "")")
        try? await engine.request(name, compromised: isCompromised)
    }

    private func releaseQuarantined() async {
        for record in world.journal.durableRecords where record.quarantine != nil {
            world.trace("\(record.name) is released: \(record.quarantine?.reason ?? "")")
            try? await engine?.release(record.name, actor: "operator")
        }
    }

    // MARK: The end

    /// Nothing goes wrong any more; everything must come to rest.
    private func heal() async {
        guard !world.isOver else { return }
        world.trace("everything heals")
        world.faults = .none
        world.outages = [:]
        world.diskFullUntil = 0
        while world.clock.now < deadline, !world.isOver {
            try? await outside.wait(Self.hour)
            await releaseQuarantined()
            world.checkOrphans()
        }
        guard !world.isOver else { return }
        checkRest()
    }

    private func checkRest() {
        for (name, secret) in world.secrets.sorted(by: { $0.key < $1.key }) {
            guard let record = world.journal.durable(name), let current = record.current else {
                return world.fail(7, "\(name) has no current version in the end")
            }
            if record.quarantine != nil { world.fail(7, "\(name) is quarantined in the end") }
            if world.clock.now - (secret.lastPromotion ?? 0) > secret.every * 1.2 + Self.hour {
                world.fail(7, "\(name) stopped rotating")
            }
            let text = current.keyID.flatMap { world.keys[$0]?.text }
            for backend in secret.policy.backends {
                // A rotation may be under way at this moment.
                guard record.rotation == nil, let served = world.places[backend.target]?.served else { continue }
                if served != text {
                    world.fail(1, "\(backend.target.backend) of \(name) serves another key than the current one")
                }
            }
            guard secret.kind != .slots else { continue }
            let held = Set(
                world.keys.keys(of: name).filter { $0.expiresAt.map { $0 > world.clock.now } ?? true }.map(\.id))
            let known = Set(record.versions.filter(\.stage.mayExistAtIssuer).compactMap(\.keyID))
            if record.rotation == nil, held.subtracting(known).contains(where: { !isReported($0) }) {
                world.fail(3, "\(name): the issuer holds \(held.subtracting(known).sorted()), which nobody knows")
            }
        }
    }

    private func isReported(_ keyID: String) -> Bool {
        guard let lineage = world.keys[keyID]?.lineage else { return false }
        return world.journal.durableOrphans[lineage.description] != nil
    }
}
