import Foundation
import KeyturnCore
import Logging
import Synchronization

/// The daemon's loop: asks the index what is due, works on it side by side, sleeps until the next due time.
///
/// It sleeps on the monotonic clock in bounded slices and compares dates after each, so that a suspended machine or a
/// clock that jumps is noticed within one slice.
struct Scheduler {
    let engine: Engine
    let core: EngineCore
    let doorbell: Doorbell

    /// Secrets in work, and those that are left alone for a moment.
    private final class Desk: Sendable {
        private struct State {
            var running: Set<SecretName> = []
            var notBefore: [SecretName: Date] = [:]
            var failure: JournalError?
        }

        private let state = Mutex(State())

        func free(of due: [SecretName], at now: Date, places: Int) -> [SecretName] {
            state.withLock { state in
                state.notBefore = state.notBefore.filter { $0.value > now }
                let free = due.filter { !state.running.contains($0) && state.notBefore[$0] == nil }
                let taken = free.prefix(max(0, places - state.running.count))
                state.running.formUnion(taken)
                return Array(taken)
            }
        }

        func finished(_ secret: SecretName, notBefore: Date?, failure: JournalError?) {
            state.withLock { state in
                state.running.remove(secret)
                state.notBefore[secret] = notBefore
                if let failure { state.failure = failure }
            }
        }

        var runningCount: Int { state.withLock { $0.running.count } }
        func isHeld(_ secret: SecretName) -> Bool {
            state.withLock { $0.running.contains(secret) || $0.notBefore[secret] != nil }
        }
        var held: Int { state.withLock { $0.running.count + $0.notBefore.count } }
    }

    func run() async throws(JournalError) {
        let desk = Desk()
        var failure: JournalError?
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await deliverAlerts() }
            if let interval = core.settings.driftInterval {
                let watch = DriftWatch(engine: engine, core: core, interval: interval)
                group.addTask { await watch.run() }
            }
            do throws(JournalError) {
                while !core.stop.isAsked, !Task.isCancelled {
                    try await core.clock.look(telling: await engine.workplace.sinks.keys.sorted())
                    try await startWhatIsDue(desk, &group)
                    await doorbell.wait(upTo: .seconds(try await nap(desk)), on: core.time)
                }
            } catch {
                core.logger.error("the scheduler stops", metadata: ["error": "\(error)"])
                failure = error
                core.stop.ask()
            }
            await park(desk)
            group.cancelAll()
        }
        if let failure { throw failure }
    }

    private func startWhatIsDue(_ desk: Desk, _ group: inout TaskGroup<Void>) async throws(JournalError) {
        let now = core.time.now()
        let places = core.settings.concurrency
        // Those in work are still due in the index until they commit.
        let due = try await core.journal.due(by: now, limit: places + desk.held).map(\.secret)
        let worker = SecretWorker(core: core, workplace: await engine.workplace)
        let edition = await engine.edition
        for secret in desk.free(of: due, at: now, places: places) {
            group.addTask {
                let outcome = await worker.work(on: secret)
                // It worked by policies that have been replaced meanwhile.
                if await engine.edition != edition { try? await engine.enroll(only: secret) }
                desk.finished(
                    secret,
                    notBefore: outcome.holdsOff ? core.time.now().addingTimeInterval(core.settings.longestSleep) : nil,
                    failure: nil)
                doorbell.ring()
            }
        }
    }

    /// Seconds until something is due that is not in work, at most one slice. Whoever ends its work rings the doorbell.
    private func nap(_ desk: Desk) async throws(JournalError) -> Double {
        let longest = core.settings.longestSleep
        guard desk.runningCount < core.settings.concurrency else { return longest }
        let now = core.time.now()
        let soon = try await core.journal.due(by: now.addingTimeInterval(longest), limit: desk.held + 1)
        guard let next = soon.first(where: { !desk.isHeld($0.secret) }) else { return longest }
        return min(longest, max(0.2, next.at.timeIntervalSince(now)))
    }

    /// Steps in flight may finish for a while; the rest is cancelled and resumed at the next start.
    private func park(_ desk: Desk) async {
        var patience = core.settings.stopPatience
        while desk.runningCount > 0, patience > 0 {
            try? await core.time.sleep(for: .milliseconds(100))
            patience -= 0.1
        }
        if desk.runningCount > 0 {
            core.logger.notice("steps in flight are parked", metadata: ["secrets": "\(desk.runningCount)"])
        }
    }

    private func deliverAlerts() async {
        while !Task.isCancelled {
            do throws(JournalError) {
                _ = try await AlertDispatcher(core: core).deliverDue(await engine.workplace.sinks)
            } catch {
                core.logger.error("alerts can't be read", metadata: ["error": "\(error)"])
            }
            do { try await core.time.sleep(for: .seconds(core.settings.alertInterval)) } catch { return }
        }
    }
}

extension WorkOutcome {
    package var foundNothingDue: Bool { if case .nothingDue = result { true } else { false } }

    /// Whether looking again at once would be in vain.
    package var holdsOff: Bool {
        switch result {
        case .leasedElsewhere, .journalFailed: true
        case .nothingDue, .rotated, .rolledBack, .failed: false
        }
    }
}
