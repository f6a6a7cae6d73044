import KeyturnCore
import TestSupport

/// One call from a process to an outside system, with all that can happen to it on the way.
struct SimulatedCall {
    let process: SimulatedProcess
    let world: World
    let system: String

    /// - Parameters:
    ///   - mayBeLate: whether the effect may come after the caller has given up.
    ///   - check: what must hold when the request leaves the process.
    func run<Result: Sendable>(
        _ name: String, _ secret: SecretName?, mayBeLate: Bool = false, sending check: () -> Void = {},
        _ effect: @escaping @Sendable () throws(SystemError) -> Result
    ) async throws(SystemError) -> Result {
        let faults = world.faults
        do {
            try await process.thaw()
            if world.chance(faults.slow) { try await process.wait(world.between(0.01, 4)) }
            try await process.thaw()
        } catch { throw .processDied }
        world.counts.effects += 1
        check()
        if let until = world.outages[system], until > world.clock.now {
            throw SystemError(
                world.chance(0.5) ? .unreachable : .unavailable, "it is down", mayHaveTakenEffect: world.chance(0.3))
        }
        if world.chance(faults.refusedPassing) {
            throw SystemError(.rateLimited, "too many requests", retryAfter: world.between(1, 30))
        }
        if world.chance(faults.refusedForGood) { throw SystemError(.forbidden, "no right") }
        if world.chance(faults.crash) {
            if world.chance(0.5) {
                world.trace("p\(process.number) \(system).\(name) \(secret?.text ?? ""), then death")
                _ = try? effect()
                verify(secret)
            }
            process.die("\(system).\(name)")
            throw .processDied
        }
        if world.chance(faults.lostBefore) { throw lost(name, secret, "nothing happened") }
        if mayBeLate, world.chance(faults.late) {
            world.clock.after(world.between(0.5, 10)) {
                world.trace("p\(process.number) \(system).\(name) \(secret?.text ?? "") comes late")
                _ = try? effect()
                verify(secret)
            }
            throw lost(name, secret, "it is still on its way")
        }
        let result = try effect()
        world.trace("p\(process.number) \(system).\(name) \(secret?.text ?? "")")
        verify(secret)
        if world.chance(faults.lostAfter) { throw lost(name, secret, "it happened") }
        return result
    }

    private func lost(_ name: String, _ secret: SecretName?, _ what: String) -> SystemError {
        world.counts.unknownOutcomes += 1
        world.trace("p\(process.number) \(system).\(name) \(secret?.text ?? ""): the answer is lost, \(what)")
        return SystemError(.timedOut, "no answer in time", mayHaveTakenEffect: true)
    }

    private func verify(_ secret: SecretName?) {
        if let secret { world.checkServed(secret) }
    }
}
