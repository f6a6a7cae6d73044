import Foundation
package import KeyturnCore
import KeyturnEngine
import TestSupport

/// One secret over two backends, one with staging and one without, through one rotation and the retirement of the old key:
/// played once for every way in which its calls and writes can come out, with a few crashes and faults.
///
/// No state is saved and gone back to: a history is a list of choices, and each is played from the start.
package struct SmallModel: Sendable {
    package let kind: IssuerKind
    /// How many crashes and how many refused calls or lost answers one history may have.
    package var crashes = 2
    package var faults = 2
    /// How many of both together.
    package var together = 2
    /// In which order jobs that are ready run.
    package var order = SimulationExecutor.Order.newestFirst

    package init(kind: IssuerKind) { self.kind = kind }

    package struct Report: Sendable {
        package internal(set) var histories = 0
        /// Points in all histories at which there was a choice.
        package internal(set) var choices = 0
        /// Different durable states, of journal, issuer and backends together.
        package internal(set) var states = 0
        package internal(set) var counts = Counts()
        /// The first promise that was broken, with the choices that led there.
        package internal(set) var violation: String?
        package internal(set) var trace: [String] = []
    }

    /// - Parameter limit: how many histories are played at most.
    package func explore(limit: Int = .max) -> Report {
        let script = ChoiceScript(crashes: crashes, faults: faults, together: together)
        var report = Report()
        var states: Set<Int> = []
        repeat {
            let world = play(script, isTracing: false) { states.insert($0) }
            report.histories += 1
            report.choices += script.choices
            report.counts.add(world.counts)
            if let violation = world.violation {
                report.violation = "\(violation.sentence) (choices \(script.text))"
                script.rewind()
                report.trace = play(script, isTracing: true) { _ in }.trace(60)
                break
            }
        } while report.histories < limit && script.advance()
        report.states = states.count
        return report
    }

    private func play(_ script: ChoiceScript, isTracing: Bool, _ visit: @escaping (Int) -> Void) -> World {
        let world = World(seed: 1, faults: .none, script: script, isTracing: isTracing)
        let course = Course(world: world, kind: kind, script: script)
        script.onChoice = { visit(course.state) }
        SimulationExecutor(seed: 1, order: order).play(world) { await course.run() }
        return world
    }
}

/// One history of the small model.
private final class Course: @unchecked Sendable {
    // @unchecked: used by the simulation's one thread alone.
    private let world: World
    private let script: ChoiceScript
    private let systems: WorldSystems
    private let secret: SecretWorld
    private var lives = 0
    private var process: SimulatedProcess
    private var engine: Engine?
    private let outside: SimulatedProcess

    private static let every = 12 * 3600.0
    private static let grace = 2 * 3600.0
    /// Far more rounds than any history needs.
    private static let mostRounds = 100

    init(world: World, kind: IssuerKind, script: ChoiceScript) {
        self.world = world
        self.script = script
        systems = WorldSystems(world: world)
        outside = SimulatedProcess(number: 0, world: world)
        process = outside
        guard let name = try? SecretName("team/key") else { preconditionFailure("a plain name is a name") }
        let targets = ["staged-1", "direct-1"].map { BackendTarget(backend: $0, path: name.text) }
        secret = SecretWorld(
            name: name, kind: kind, every: Self.every, grace: Self.grace, whenUnused: nil,
            policy: WorldSystems.policy(name, kind, every: Self.every, grace: Self.grace, targets, edition: 1))
        world.add(secret)
        for place in secret.places {
            for share in [0.3, 0.9] {
                secret.consumers.append(
                    Consumer(place: place, first: world.clock.now + 60, period: Self.grace * share))
            }
        }
    }

    private var record: SecretRecord? { world.journal.durable(secret.name) }

    func run() async {
        await settle { $0.current?.number == 1 }
        script.isOn = true
        await settle { $0.current?.number == 2 && $0.leaving.isEmpty }
        script.isOn = false
        checkRest()
        world.end()
    }

    /// Works whenever something is due, in a new process after a crash, until all is as it should be.
    private func settle(_ isDone: (SecretRecord) -> Bool) async {
        for _ in 0..<Self.mostRounds where !world.isOver {
            if engine == nil || process.isDead {
                lives += 1
                process = SimulatedProcess(number: lives, world: world)
                engine = try? await systems.engine(of: process)
            }
            let outcomes = try? await engine?.pass()
            if let record, record.rotation == nil, record.quarantine == nil, isDone(record) { return }
            if record?.quarantine != nil { try? await engine?.release(secret.name, actor: "operator") }
            var pause = max(
                1, (world.journal.nextDue(of: secret.name) ?? outside.now()).timeIntervalSince(outside.now()))
            // The lease of a process that died has to end first.
            if process.isDead || outcomes?.contains(where: \.holdsOff) == true { pause = max(pause, 301) }
            try? await outside.wait(pause)
        }
        world.fail(5, secret.name, "\(secret.name) never comes to rest")
    }

    /// Promise 5: whatever happened on the way, the end is the same.
    private func checkRest() {
        guard !world.isOver, let record, let current = record.current else { return }
        world.checkOrphans(secret.name)
        world.checkServed(secret.name)
        let text = current.keyID.flatMap { secret.keys[$0]?.text }
        for place in secret.places where text == nil || place.served != text {
            world.fail(5, secret.name, "\(place.target.backend) does not serve the current key in the end")
        }
        let stages = record.versions.filter { $0.stage != .abandoned }.map(\.stage)
        guard stages == [.retired, .current] else {
            return world.fail(5, secret.name, "the versions end as \(stages)")
        }
        guard secret.kind != .slots else { return }
        let others = secret.keys.all.filter { $0.id != current.keyID }
        for key in others where !world.journal.hasOrphan(key.lineage.description) {
            world.fail(3, secret.name, "key \(key.id) is left behind and not reported")
        }
    }

    /// What is durable anywhere, without times and names, so that equal situations are equal.
    var state: Int {
        var hasher = Hasher()
        if let record {
            for version in record.versions {
                hasher.combine(version.stage)
                hasher.combine(version.retirement?.revoked)
                for backend in version.backends { hasher.combine(backend.pruned) }
                for place in secret.places {
                    hasher.combine(place.versions[version.number] != nil)
                    hasher.combine(place.current == version.number)
                }
                hasher.combine(version.keyID.map { secret.keys[$0] != nil })
            }
            hasher.combine(record.rotation?.machine.phase)
            for backend in record.rotation?.machine.backends ?? [] { hasher.combine(backend.progress) }
            hasher.combine(record.rotation?.issueIntent != nil)
            hasher.combine(record.rotation?.attempt)
            hasher.combine(record.quarantine != nil)
        }
        hasher.combine(secret.keys.all.count)
        hasher.combine(process.isDead)
        return hasher.finalize()
    }
}
