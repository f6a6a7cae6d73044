import Foundation
import KeyturnCore
import TestSupport

/// Everything outside the process, and what is true of it: time, issuers, backends, consumers, the disk. After each effect
/// the promises of the design are checked against it.
package final class World: @unchecked Sendable {
    // @unchecked: used by the simulation's one thread alone.
    let clock: SimulatedClock
    let journal = MemoryJournal()
    var faults: Faults
    var random: SeededGenerator
    /// By how many seconds the machine's wall clock is ahead of the truth.
    var wallOffset = 0.0
    var keys = KeyStore()
    var places: [BackendTarget: Place] = [:]
    var consumers: [Consumer] = []
    var secrets: [SecretName: SecretWorld] = [:]
    /// Systems that are down, until when.
    var outages: [String: Double] = [:]
    var diskFullUntil = 0.0
    var counts = Counts()
    private(set) var violation: String?
    private(set) var isOver = false
    private var lines: [String] = []

    package struct Counts: Sendable, Equatable {
        package var rotations = 0
        package var retired = 0
        package var crashes = 0
        package var effects = 0
        package var checks = 0
        package var unknownOutcomes = 0
        package var possibleOrphans = 0
        package var compromised = 0
        package var clockJumps = 0

        package init() {}

        package mutating func add(_ other: Counts) {
            for path: WritableKeyPath<Counts, Int> in [
                \.rotations, \.retired, \.crashes, \.effects, \.checks, \.unknownOutcomes, \.possibleOrphans,
                \.compromised, \.clockJumps,
            ] { self[keyPath: path] += other[keyPath: path] }
        }
    }

    /// What a backend holds at one path.
    struct Place {
        var versions: [Int: SecretValue] = [:]
        var current: Int?
        let isStaging: Bool

        var served: String? { current.flatMap { versions[$0]?.exposedText() } }
    }

    /// A reader that keeps what it read for almost as long as the grace.
    struct Consumer {
        let secret: SecretName
        let target: BackendTarget
        let period: Double
        var value: String?
    }

    /// What must hold for one secret.
    struct SecretWorld {
        var policy: Policy
        var kind: IssuerKind
        var every: Double
        var grace: Double
        var whenUnused: Double?
        /// Keys whose users have no claim to service any more.
        var tainted: Set<String> = []
        /// When a key stopped being served by the last backend that served it.
        var replacedAt: [String: Double] = [:]
        var everServed: Set<String> = []
        var lastPromotion: Double?
        var lastVersion = 0
        /// Somebody asked for a rotation, or edited the policy, since the last promotion.
        var mayRotateEarly = false
        var pausedFor = 0.0
    }

    init(seed: UInt64, faults: Faults) {
        clock = SimulatedClock(startingAt: 1_800_000_000)
        random = SeededGenerator(seed: seed)
        self.faults = faults
    }

    func chance(_ probability: Double) -> Bool { Double.random(in: 0..<1, using: &random) < probability }
    func between(_ low: Double, _ high: Double) -> Double { Double.random(in: low...high, using: &random) }

    func trace(_ line: @autoclosure () -> String) {
        if lines.count > 1000 { lines.removeFirst(500) }
        lines.append("\(Int(clock.now - 1_800_000_000)) s  \(line())")
    }

    /// The newest events, oldest first.
    func recentTrace(_ count: Int) -> [String] { Array(lines.suffix(count)) }

    func end() { isOver = true }

    func fail(_ promise: Int, _ sentence: String) {
        guard violation == nil else { return }
        violation = "promise \(promise): \(sentence)"
        trace("VIOLATION \(violation ?? "")")
        isOver = true
    }

    // MARK: Truth

    /// Whether a consumer that shows this text is served.
    func accepts(_ text: String) -> Bool { keys.accepts(text, at: clock.now) }

    func setCurrent(_ version: Int, at target: BackendTarget, for secret: SecretName) {
        let before = places[target]?.served
        places[target]?.current = version
        guard let served = places[target]?.served else { return }
        secrets[secret]?.everServed.insert(served)
        secrets[secret]?.replacedAt[served] = nil
        if let before, before != served, !isServed(before, of: secret) {
            secrets[secret]?.replacedAt[before] = clock.now
        }
    }

    func isServed(_ text: String, of secret: SecretName) -> Bool {
        (secrets[secret]?.policy.backends ?? []).contains { places[$0.target]?.served == text }
    }

    func consume(_ index: Int) {
        let consumer = consumers[index]
        guard secrets[consumer.secret]?.policy.backends.contains(where: { $0.target == consumer.target }) == true else {
            consumers[index].value = nil
            return
        }
        consumers[index].value = places[consumer.target]?.served
        if let value = consumers[index].value { keys.use(value, at: clock.now) }
    }

    // MARK: Promises

    /// Promise 1: whoever reads a backend, or read it less than the grace ago, has a key that works.
    func checkServed(_ secret: SecretName) {
        counts.checks += 1
        guard let world = secrets[secret] else { return }
        for backend in world.policy.backends {
            guard let served = places[backend.target]?.served, !world.tainted.contains(served) else { continue }
            if !accepts(served) { fail(1, "\(backend.target.backend) serves \(served) of \(secret), which is refused") }
        }
        for consumer in consumers where consumer.secret == secret {
            guard let value = consumer.value, !world.tainted.contains(value) else { continue }
            if !accepts(value) {
                fail(1, "a consumer of \(consumer.target.backend) holds \(value) of \(secret), which is refused")
            }
        }
    }

    /// Promise 2, on what is durable.
    func checkRecord(_ record: SecretRecord) {
        if record.versions.count(where: { $0.stage == .current }) > 1 {
            fail(2, "\(record.name) has two current versions")
        }
        if record.versions.count(where: { $0.stage == .pending }) > 1 {
            fail(2, "\(record.name) has two pending versions")
        }
        if let pending = record.pending, record.rotation?.version != pending.number {
            fail(2, "version \(pending.number) of \(record.name) is pending without a rotation")
        }
        for version in record.versions where version.tainted {
            if let text = version.keyID.flatMap({ keys[$0]?.text }) { secrets[record.name]?.tainted.insert(text) }
        }
        notePromotion(record)
    }

    /// Promise 7: none run twice.
    private func notePromotion(_ record: SecretRecord) {
        guard let current = record.current, var world = secrets[record.name], current.number != world.lastVersion else {
            return
        }
        counts.rotations += 1
        if let last = world.lastPromotion, !world.mayRotateEarly, clock.now - last < world.every * 0.8 {
            fail(7, "\(record.name) rotated again after \(Int(clock.now - last)) s")
        }
        world.lastPromotion = clock.now
        world.lastVersion = current.number
        world.mayRotateEarly = false
        secrets[record.name] = world
        trace("\(record.name): version \(current.number) is current")
    }

    /// Promise 3: each key that exists is accounted for.
    func checkOrphans() {
        let orphans = journal.durableOrphans
        for key in keys.all where key.expiresAt.map({ $0 > clock.now }) ?? true {
            guard let lineage = key.lineage, secrets[lineage.secret]?.kind != .slots else { continue }
            let record = journal.durable(lineage.secret)
            let isKnown = record?.versions.contains { $0.keyID == key.id && $0.stage.mayExistAtIssuer } ?? false
            let isIntended = record?.rotation?.issueIntent?.nonce == lineage.nonce
            if !isKnown, !isIntended, orphans[lineage.description] == nil {
                fail(3, "key \(key.id) of \(lineage.secret), version \(lineage.version), is an orphan")
            }
        }
    }

    /// Promise 4: nothing that somebody may still use is taken away.
    func checkRetiring(_ text: String, of secret: SecretName) {
        guard let world = secrets[secret], !world.tainted.contains(text) else { return }
        if isServed(text, of: secret) { return fail(4, "\(text) of \(secret) is revoked while a backend serves it") }
        guard world.everServed.contains(text) else { return }
        guard let replacedAt = world.replacedAt[text] else {
            return fail(4, "\(text) of \(secret) is revoked and was never replaced")
        }
        if clock.now - replacedAt < world.grace - 1 {
            fail(4, "\(text) of \(secret) is revoked \(Int(clock.now - replacedAt)) s after it was replaced")
        }
        if let quiet = world.whenUnused, let used = keys.lastUse(of: text), clock.now - used < quiet - 1 {
            fail(4, "\(text) of \(secret) is revoked \(Int(clock.now - used)) s after its last use")
        }
    }

    /// Promise 5: what happens outside is written down before, with the key's value safe.
    func checkIntent(_ secret: SecretName, _ step: RotationStep, version: Int, nonce: String? = nil) {
        let record = journal.durable(secret)
        let isIntended: Bool
        switch step {
        case .issue: isIntended = record?.rotation?.issueIntent.map { $0.nonce == nonce } ?? false
        case .stage: isIntended = record?.version(version)?.sealed != nil
        case .promote(let backend):
            let progress = record?.rotation.flatMap { $0.version == version ? $0.machine.progress(of: backend) : nil }
            let isDone = (record?.current?.number ?? 0) >= version
            isIntended =
                record?.version(version)?.sealed != nil && (progress?.progress == .promoting || isDone)
                || progress?.progress == .promoted
        default: isIntended = true
        }
        if !isIntended { fail(5, "\(step.text) of \(secret), version \(version), without a durable intent") }
    }

    /// Promise 6, on what is written.
    func checkSealed(_ change: JournalChange) {
        for version in change.record.versions {
            if let sealed = version.sealed, sealed.range(of: KeyStore.mark) != nil {
                fail(6, "version \(version.number) of \(change.record.name) is written unsealed")
            }
        }
        let texts =
            change.audit.flatMap { $0.detail.values } + change.alerts.flatMap { [$0.event.summary, $0.event.advice] }
        if texts.contains(where: { $0.contains(KeyStore.markText) }) {
            fail(6, "a value of \(change.record.name) is told")
        }
    }
}
