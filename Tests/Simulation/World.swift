import Foundation
import KeyturnCore
import TestSupport

/// Everything outside the process, and what is true of it: time, issuers, backends, consumers, the disk.
final class World: @unchecked Sendable {
    // @unchecked: used by the simulation's one thread alone.
    let clock = SimulatedClock(startingAt: World.beginning)
    let journal = MemoryJournal(keepsAudit: false)
    var faults: Faults
    var random: SeededGenerator
    /// Decides in the place of chance.
    let script: ChoiceScript?
    /// By how many seconds the machine's wall clock is ahead of the truth.
    private(set) var wallOffset = 0.0
    /// How often the machine was started before, and when it was started last.
    private(set) var boots = 0
    private(set) var bootedAt = World.beginning
    private(set) var secrets: [SecretName: SecretWorld] = [:]
    /// The same, by name.
    private(set) var ordered: [SecretWorld] = []
    private var places: [BackendTarget: Place] = [:]
    /// Systems that are down, until when.
    var outages: [String: Double] = [:]
    var diskFullUntil = 0.0
    var counts = Counts()
    private(set) var violation: Violation?
    private(set) var isOver = false
    private let isTracing: Bool
    private var events: [TracedEvent] = []
    private var made = 0

    static let beginning = 1_800_000_000.0

    /// A promise that was broken.
    struct Violation {
        let sentence: String
        let secret: SecretName?
    }

    private struct TracedEvent {
        let secret: SecretName?
        let line: String
    }

    /// - Parameter isTracing: whether events are written down. A history that fails is the same when it is played again, so
    ///   that only then it need be.
    init(seed: UInt64, faults: Faults, script: ChoiceScript? = nil, isTracing: Bool) {
        random = SeededGenerator(seed: seed)
        self.faults = faults
        self.script = script
        self.isTracing = isTracing
    }

    // MARK: Chance

    func chance(_ probability: Double) -> Bool { probability > 0 && fraction() < probability }
    func between(_ low: Double, _ high: Double) -> Double { low + fraction() * (high - low) }
    func any<Element>(of list: [Element]) -> Element { list[Int(random.next() % UInt64(list.count))] }

    /// Whether something goes wrong now.
    func happens(_ fault: Fault) -> Bool {
        guard chance(faults[fault]) else { return false }
        counts[fault] += 1
        return true
    }

    private func fraction() -> Double { Double(random.next() >> 11) * 0x1p-53 }

    // MARK: Events

    func trace(_ secret: SecretName? = nil, _ line: @autoclosure () -> String) {
        guard isTracing else { return }
        events.append(TracedEvent(secret: secret, line: "\(Int(clock.now - Self.beginning)) s  \(line())"))
    }

    /// The newest events that concern the secret whose promise was broken, oldest first.
    func trace(_ count: Int) -> [String] {
        guard let secret = violation?.secret else { return events.suffix(count).map(\.line) }
        return events.filter { $0.secret == nil || $0.secret == secret }.suffix(count).map(\.line)
    }

    func end() { isOver = true }

    func fail(_ promise: Int, _ secret: SecretName? = nil, _ sentence: String) {
        guard violation == nil else { return }
        violation = Violation(sentence: "promise \(promise): \(sentence)", secret: secret)
        trace(secret, "VIOLATION of promise \(promise): \(sentence)")
        isOver = true
    }

    // MARK: Things

    func add(_ secret: SecretWorld) {
        secrets[secret.name] = secret
        ordered.append(secret)
        ordered.sort { $0.name < $1.name }
        for backend in secret.policy.backends { addPlace(backend.target, to: secret) }
    }

    @discardableResult
    func addPlace(_ target: BackendTarget, to secret: SecretWorld) -> Place {
        let place = Place(target)
        places[target] = place
        secret.places.append(place)
        return place
    }

    func place(_ target: BackendTarget) -> Place? { places[target] }

    func freshText() -> String {
        made += 1
        return "\(KeyMark.text)\(made)"
    }

    func freshID() -> String {
        made += 1
        return "key-\(made)"
    }

    /// Sets the machine's wall clock so many seconds ahead of the truth, or right.
    func setClock(ahead seconds: Double) {
        wallOffset = seconds
        trace(nil, "the clock is set \(Int(seconds)) s ahead")
        // Schedules go by the clock on the wall, right or wrong.
        for secret in ordered { secret.mayRotateEarly = true }
    }

    func restartMachine() {
        boots += 1
        bootedAt = clock.now
    }

    /// Makes a version current at a place, and notes which key it replaced.
    func setCurrent(_ version: Int, at place: Place, of secret: SecretWorld) {
        let before = place.served
        place.setCurrent(version, at: clock.now)
        guard let served = place.served, served != before else { return }
        secret.everServed.insert(served)
        secret.replacedAt[served] = nil
        if let before, !secret.isServed(before) { secret.replacedAt[before] = clock.now }
    }
}
