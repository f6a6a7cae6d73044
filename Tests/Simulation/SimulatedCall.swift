import KeyturnCore
import TestSupport

/// One call from a process to an outside system, with all that can happen to it on the way.
struct SimulatedCall {
    let process: SimulatedProcess
    let world: World
    let system: String

    /// Seconds after which a request that was held up, such as by a suspension, is not sent any more.
    private static let timeout = 30.0

    /// - Parameters:
    ///   - changes: the secret of which the call may change something.
    ///   - mayBeRepeated: whether whoever carries the request may carry it twice, where it changes anything.
    ///   - mayBeLate: whether the effect may come after the caller has given up.
    ///   - check: what must hold when the request leaves the process.
    func run<Result: Sendable>(
        _ name: String, _ secret: SecretName?, changes: Bool = true, mayBeRepeated: Bool = true,
        mayBeLate: Bool = false,
        sending check: () -> Void = {}, _ effect: @escaping @Sendable () throws(SystemError) -> Result
    ) async throws(SystemError) -> Result {
        let began = world.clock.now
        do {
            try await process.thaw()
            if world.happens(.slow) { try await process.wait(world.between(0.01, 4)) }
            try await process.thaw()
        } catch { throw .processDied }
        guard world.clock.now - began < Self.timeout else { throw lost(name, secret, "it was never sent") }
        world.counts.calls += 1
        check()
        switch world.fate(ofCallTo: system, mayBeRepeated: changes && mayBeRepeated, mayBeLate: mayBeLate) {
        case .answered: return try await answer(name, secret, changes: changes, effect)
        case .arrivesTwice(let seconds):
            let again = {
                note(name, secret, " arrives again")
                _ = try? effect()
                verify(secret)
            }
            if seconds > 0 { world.clock.after(seconds, again) }
            let result = try effect()
            if seconds == 0 { again() }
            return try await answer(name, secret, changes: changes) { () throws(SystemError) in result }
        case .refused(let error):
            process.hear(system, say: world.clock.now)
            note(name, secret, ": \(error.code.rawValue)")
            throw error
        case .lostBefore: throw lost(name, secret, "nothing happened")
        case .lostAfter:
            _ = try effect()
            verify(secret)
            throw lost(name, secret, "it happened")
        case .late(let seconds):
            world.clock.after(seconds) {
                note(name, secret, " comes late")
                _ = try? effect()
                verify(secret)
            }
            throw lost(name, secret, "it is still on its way")
        case .diesBefore:
            process.die("\(system).\(name)")
            throw .processDied
        case .diesAfter:
            note(name, secret, ", then death")
            _ = try? effect()
            verify(secret)
            process.die("\(system).\(name)")
            throw .processDied
        }
    }

    private func answer<Result: Sendable>(
        _ name: String, _ secret: SecretName?, changes: Bool, _ effect: () throws(SystemError) -> Result
    ) async throws(SystemError) -> Result {
        let result = try effect()
        let said = world.clock.now
        note(name, secret, "")
        if changes { verify(secret) }
        try await hang(secret)
        process.hear(system, say: said)
        return result
    }

    /// The answer is there, and the process is suspended before it sees it.
    private func hang(_ secret: SecretName?) async throws(SystemError) {
        guard process.hangsInNextCall || world.happens(.suspendedInCall) else { return }
        if process.hangsInNextCall { world.counts[.suspendedInCall] += 1 }
        process.frozenUntil = world.clock.now + world.between(process.hangsInNextCall ? 310 : 10, 1200)
        process.hangsInNextCall = false
        world.trace(secret, "p\(process.number) is suspended before it sees the answer")
        do { try await process.thaw() } catch { throw .processDied }
    }

    private func lost(_ name: String, _ secret: SecretName?, _ what: String) -> SystemError {
        world.counts.unknownOutcomes += 1
        note(name, secret, ": the answer is lost, \(what)")
        return SystemError(.timedOut, "no answer in time", mayHaveTakenEffect: true)
    }

    private func note(_ name: String, _ secret: SecretName?, _ outcome: @autoclosure () -> String) {
        world.trace(secret, "p\(process.number) \(system).\(name) \(secret?.text ?? "")\(outcome())")
    }

    private func verify(_ secret: SecretName?) {
        guard let secret else { return }
        world.checkServed(secret)
        world.checkOrphans(secret)
    }
}
