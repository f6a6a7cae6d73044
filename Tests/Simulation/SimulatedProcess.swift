import Foundation
import KeyturnCore

/// One life of the Keyturn process: what it is told of time, and whether it still lives.
final class SimulatedProcess: Timekeeper, @unchecked Sendable {
    // @unchecked: used by the simulation's one thread alone.
    let number: Int
    private let world: World
    private(set) var isDead = false
    /// Until then it is suspended, as by SIGSTOP.
    var frozenUntil = 0.0
    /// Is suspended past its lease while its next call is on its way.
    var hangsInNextCall = false
    private var sleepers: Set<UInt64> = []
    /// What systems said of the time.
    let witnesses = ClockWitnesses()

    init(number: Int, world: World) {
        self.number = number
        self.world = world
    }

    /// `kill -9`: from now on nothing it does has any effect.
    func die(_ place: String) {
        guard !isDead else { return }
        isDead = true
        world.counts.crashes += 1
        world.trace(nil, "process \(number) dies at \(place)")
        for id in sleepers { world.clock.cancel(id) }
        sleepers = []
    }

    // MARK: Timekeeper

    func now() -> Date { Date(timeIntervalSince1970: world.clock.now + world.wallOffset) }

    func reading() -> ClockReading {
        ClockReading(wall: now(), uptime: uptime, boot: "boot-\(world.boots)")
    }

    /// A system answered, and said what time it is: in whole seconds, as HTTP does.
    func hear(_ system: String, say time: Double) {
        witnesses.hear(system, say: Date(timeIntervalSince1970: time.rounded(.down)), at: uptime)
    }

    private var uptime: Double { world.clock.now - world.bootedAt }

    func sleep(for duration: Duration) async throws {
        let seconds = Double(duration.components.seconds) + Double(duration.components.attoseconds) / 1e18
        try await wait(seconds)
        try await thaw()
    }

    /// Waits until a suspension is over.
    func thaw() async throws {
        while frozenUntil > world.clock.now { try await wait(frozenUntil - world.clock.now) }
        if isDead || world.isOver { throw CancellationError() }
    }

    func wait(_ seconds: Double) async throws {
        guard !isDead, !world.isOver else { throw CancellationError() }
        try Task.checkCancellation()
        guard seconds > 0 else { return await Task.yield() }
        let id = world.clock.makeID()
        sleepers.insert(id)
        defer { sleepers.remove(id) }
        try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { (waiter: CheckedContinuation<Void, any Error>) in
                guard !Task.isCancelled, !isDead else { return waiter.resume(throwing: CancellationError()) }
                world.clock.add(waiter, id: id, seconds: seconds)
            }
        } onCancel: {
            world.clock.cancel(id)
        }
    }
}
