import Foundation
import KeyturnCore
import KeyturnEngine
import TestSupport

/// The people and machines of one simulated installation.
final class Site: @unchecked Sendable {
    // @unchecked: used by the simulation's one thread alone.
    private let world: World
    private let systems: WorldSystems
    private let secretCount: Int
    private let end: Double
    private let deadline: Double
    private var lives = 0
    private var engine: Engine?
    private var process: SimulatedProcess?
    /// All that run at this moment.
    private var running: [(engine: Engine, process: SimulatedProcess)] = []
    private var edits = 0
    /// Runs outside every process: the operator and the clock on the wall.
    private let outside: SimulatedProcess

    private static let hour = 3600.0

    init(world: World, secrets: Int, days: Double) {
        self.world = world
        systems = WorldSystems(world: world)
        secretCount = secrets
        end = world.clock.now + days * 86_400
        deadline = end + 3 * 86_400
        outside = SimulatedProcess(number: 0, world: world)
    }

    func live() async {
        do { try settle() } catch { return world.fail(7, nil, "the world can't be made: \(error)") }
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
            let kind = WorldSystems.issuers[index % WorldSystems.issuers.count]
            let every = world.any(of: [12, 24, 36]) * Self.hour
            let grace = every / world.any(of: [4, 5, 6, 7, 8])
            let first = Int(world.between(0, 3.999))
            let targets = (0..<world.any(of: [1, 2, 3])).map {
                BackendTarget(backend: WorldSystems.backends[(first + $0) % 4].name, path: name.text)
            }
            let quiet = world.chance(0.3) ? 1800.0 : nil
            let observe = world.chance(0.3) && kind != .slots ? 1800.0 : nil
            let secret = SecretWorld(
                name: name, kind: kind, every: every, grace: grace, whenUnused: quiet,
                policy: policy(name, kind, every, grace, targets, quiet: quiet, observe: observe))
            world.add(secret)
            for place in secret.places { addConsumers(of: secret, place) }
        }
    }

    private func addConsumers(of secret: SecretWorld, _ place: Place) {
        for _ in 0..<2 {
            let period = secret.grace * world.between(0.2, 0.9)
            secret.consumers.append(
                Consumer(place: place, first: world.clock.now + world.between(1, period), period: period))
        }
    }

    private func policy(
        _ name: SecretName, _ kind: IssuerKind, _ every: Double, _ grace: Double, _ targets: [BackendTarget],
        quiet: Double?, observe: Double?, issueDigest: String = "issue"
    ) -> Policy {
        edits += 1
        return WorldSystems.policy(
            name, kind, every: every, grace: grace, targets, whenUnused: quiet, observe: observe, edition: edits,
            issueDigest: issueDigest)
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
        guard let engine = try? await systems.engine(of: process) else { return }
        started(engine, process)
        running.append((engine, process))
        defer { running.removeAll { $0.process === process } }
        world.trace(nil, "process \(process.number) starts")
        do { try await engine.run() } catch { world.trace(nil, "process \(process.number) ends: \(error)") }
    }

    // MARK: What goes wrong

    private func disturb(_ group: inout TaskGroup<Void>) async {
        if world.happens(.outage) {
            let system = world.any(of: WorldSystems.names)
            let seconds = world.between(60, 3 * Self.hour)
            world.outages[system] = world.clock.now + seconds
            world.trace(nil, "\(system) is down for \(Int(seconds)) s")
        }
        if world.happens(.diskFull) {
            world.diskFullUntil = world.clock.now + world.between(60, Self.hour)
            world.trace(nil, "the disk is full")
        }
        if world.happens(.suspension) {
            process?.frozenUntil = world.clock.now + world.between(10, 1200)
            world.trace(nil, "process \(process?.number ?? 0) is suspended")
        }
        if world.happens(.restart) { engine?.askToStop() }
        if world.happens(.secondProcess) { group.addTask { await self.runBesides() } }
        if world.happens(.clockJump) { setWrong() }
        if world.happens(.policyEdit) { await edit(oneForAnEdit()) }
        if world.happens(.command) { await command(world.any(of: world.ordered)) }
        if world.happens(.drift) { putBack(world.any(of: world.ordered)) }
        await releaseQuarantined()
    }

    /// The machine's clock is set forward or back for some hours, some of the time while it starts anew.
    private func setWrong() {
        guard world.wallOffset == 0 else { return }
        let seconds = world.between(600, 12 * Self.hour)
        if world.chance(0.3) {
            for process in running.map(\.process) { process.die("a power cut") }
            world.restartMachine()
        }
        world.setClock(ahead: world.chance(0.5) ? seconds : -seconds)
        world.clock.after(world.between(600, 6 * Self.hour)) { [world] in
            if world.wallOffset != 0 { world.setClock(ahead: 0) }
        }
    }

    /// A second process on the same state, for some hours.
    private func runBesides() async {
        let seconds = world.between(Self.hour, 6 * Self.hour)
        // It has most to do where the first sleeps past its lease in the middle of its work.
        if world.chance(0.5) { process?.hangsInNextCall = true }
        await runOnce { [self] engine, process in
            world.clock.after(seconds) { [self] in
                if world.chance(0.5) { engine.askToStop() } else { process.die("a kill") }
            }
        }
    }

    /// Rather one whose rotation is under way.
    private func oneForAnEdit() -> SecretWorld {
        let busy = world.ordered.filter { world.journal.durable($0.name)?.rotation != nil }
        return world.any(of: busy.isEmpty || world.chance(0.3) ? world.ordered : busy)
    }

    private func edit(_ secret: SecretWorld) async {
        let old = secret.policy
        var targets = old.backends.map(\.target)
        var digest = old.origin.issueDigest
        switch world.any(of: [0, 1, 2]) {
        case 0: digest = "issue-\(edits)"
        case 1 where targets.count > 1:
            secret.removeConsumers(of: targets.removeLast(), at: world.clock.now)
        default:
            let backend = world.any(of: WorldSystems.backends).name
            guard !targets.contains(where: { $0.backend == backend }) else { return }
            let target = BackendTarget(backend: backend, path: "\(secret.name)-\(edits)")
            targets.append(target)
            addConsumers(of: secret, world.addPlace(target, to: secret))
        }
        secret.policy = policy(
            secret.name, secret.kind, secret.every, secret.grace, targets, quiet: secret.whenUnused,
            observe: old.retirement.observe?.timeInterval, issueDigest: digest)
        secret.noteReplaced(at: world.clock.now)
        world.trace(secret.name, "the policy of \(secret.name) is edited")
        for (engine, process) in running { try? await engine.reload(systems.workplace(of: process)) }
    }

    private func command(_ secret: SecretWorld) async {
        guard let engine else { return }
        let name = secret.name
        if world.chance(0.3) {
            world.trace(name, "\(name) is paused")
            world.journal.markPaused(true, of: name, at: outside.now(), actor: "operator")
            world.clock.after(world.between(60, 2 * Self.hour)) { [world, outside] in
                world.journal.markPaused(false, of: name, at: outside.now(), actor: "operator")
            }
            return
        }
        let isCompromised = world.happens(.compromise)
        world.trace(name, "\(name) is rotated by hand\(isCompromised ? ", compromised" : "")")
        try? await engine.request(name, compromised: isCompromised, actor: "operator")
    }

    /// Somebody else makes a place serve the value before the current one, and undoes it hours later. The old key is alive,
    /// and must stay so for as long as it is served, its grace over or not.
    private func putBack(_ secret: SecretWorld) {
        let now = world.clock.now
        let seconds = world.between(Self.hour, 6 * Self.hour)
        guard let record = world.journal.durable(secret.name), let old = record.leaving.last, !old.tainted,
            old.stage == .previous, let retireAt = old.retireAt?.timeIntervalSince1970, retireAt > now + 600,
            let key = old.keyID.flatMap({ secret.keys[$0] }), (key.expiresAt ?? .infinity) > now + seconds,
            let place = secret.placesInUse.first(where: { $0.current == record.current?.number }),
            let current = place.current, place.versions[old.number]?.exposedText() == key.text
        else { return }
        world.trace(secret.name, "\(place.target.backend) is put back to version \(old.number)")
        place.setCurrent(old.number, at: now)
        world.clock.after(seconds) { [world] in
            guard place.current == old.number else { return }
            world.trace(secret.name, "\(place.target.backend) has version \(current) again")
            place.setCurrent(current, at: world.clock.now)
            // Whoever undoes it has the readers read anew.
            secret.rereadAll(of: place, at: world.clock.now)
        }
    }

    private func releaseQuarantined() async {
        for secret in world.ordered {
            guard let quarantine = world.journal.durable(secret.name)?.quarantine else { continue }
            world.trace(secret.name, "\(secret.name) is released: \(quarantine.reason)")
            try? await engine?.release(secret.name, actor: "operator")
        }
    }

    // MARK: The end

    /// Nothing goes wrong any more; everything must come to rest.
    private func heal() async {
        guard !world.isOver else { return }
        world.trace(nil, "everything heals")
        world.faults = .none
        world.outages = [:]
        world.diskFullUntil = 0
        if world.wallOffset != 0 { world.setClock(ahead: 0) }
        while world.clock.now < deadline, !world.isOver {
            try? await outside.wait(Self.hour)
            await releaseQuarantined()
        }
        guard !world.isOver else { return }
        for secret in world.ordered { checkRest(secret) }
    }

    private func checkRest(_ secret: SecretWorld) {
        let name = secret.name
        guard let record = world.journal.durable(name), let current = record.current else {
            return world.fail(7, name, "\(name) has no current version in the end")
        }
        if record.quarantine != nil { world.fail(7, name, "\(name) is quarantined in the end") }
        if world.clock.now - (secret.lastPromotion ?? 0) > secret.every * 1.2 + Self.hour {
            world.fail(7, name, "\(name) stopped rotating")
        }
        // A rotation may be under way at this moment.
        guard record.rotation == nil else { return }
        let text = current.keyID.flatMap { secret.keys[$0]?.text }
        for place in secret.placesInUse where place.served != text {
            world.fail(1, name, "\(place.target.backend) of \(name) serves another key than the current one")
        }
    }
}
