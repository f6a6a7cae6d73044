import Foundation
import KeyturnCore
import Logging
import Synchronization

/// What every worker of an engine shares.
final class EngineCore: Sendable {
    let journal: any Journal
    let sealer: any Sealer
    let time: any Timekeeper
    let settings: EngineSettings
    let gates: SystemGates
    let logger: Logger
    /// Names this process in leases.
    let owner: String
    /// The same for short changes from outside the work on a secret.
    var visitor: String { "\(owner)/visitor" }
    let installation: Installation
    let random: SharedRandomness
    /// Set once a stop is asked for: no new step begins.
    let stop: StopSignal
    let clock: ClockWatch

    init(
        journal: any Journal, sealer: any Sealer, time: any Timekeeper, settings: EngineSettings, gates: SystemGates,
        logger: Logger, owner: String, installation: Installation, random: SharedRandomness, stop: StopSignal,
        clock: ClockWatch
    ) {
        self.journal = journal
        self.sealer = sealer
        self.time = time
        self.settings = settings
        self.gates = gates
        self.logger = logger
        self.owner = owner
        self.installation = installation
        self.random = random
        self.stop = stop
        self.clock = clock
    }
}

/// A random source that several tasks share.
package final class SharedRandomness: Sendable {
    private let generator: Mutex<any RandomNumberGenerator & Sendable>

    package init(_ generator: any RandomNumberGenerator & Sendable = SystemRandomNumberGenerator()) {
        self.generator = Mutex(generator)
    }

    func nonce() -> String {
        generator.withLock { generator in
            var words = SharedWords(words: (0..<4).map { _ in generator.next() })
            return Lineage.nonce(using: &words)
        }
    }

    /// A generator for one decision, seeded from the shared source.
    func fork() -> SharedWords {
        generator.withLock { generator in SharedWords(words: (0..<8).map { _ in generator.next() }) }
    }
}

/// A few random words, handed out in turn and around.
struct SharedWords: RandomNumberGenerator {
    private let words: [UInt64]
    private var index = 0

    init(words: [UInt64]) { self.words = words.isEmpty ? [0] : words }

    mutating func next() -> UInt64 {
        index += 1
        return words[(index - 1) % words.count]
    }
}

/// Tells all workers that a stop was asked for.
package final class StopSignal: Sendable {
    private let asked = Mutex(false)

    package init() {}

    package func ask() { asked.withLock { $0 = true } }

    package var isAsked: Bool { asked.withLock { $0 } }
}

extension EngineCore {
    /// How long to wait before the next try, in seconds.
    ///
    /// - Parameters:
    ///   - base, cap: the first and the largest ceiling; those of the settings when absent.
    ///   - deadline: seconds to the last safe start; `nil` when there is none.
    func retryDelay(
        attempt: Int, base: Double? = nil, cap: Double? = nil, deadline: Double? = nil, retryAfter: Double?
    ) -> Double {
        var words = random.fork()
        let drawn = Backoff.delay(
            attempt: max(1, attempt), base: base ?? settings.backoffBase, cap: cap ?? settings.backoffCap,
            deadline: deadline, retryAfter: retryAfter, using: &words)
        return max(settings.backoffFloor, drawn)
    }

    /// A lease that begins now.
    func leaseTerm() -> LeaseTerm { LeaseTerm(from: time.reading(), seconds: settings.lease) }

    /// Changes a record from outside the engine's own work.
    func change(
        _ secret: SecretName, _ body: (inout SecretRecord, inout Outbox, Date) -> Void
    ) async throws(JournalError) {
        let now = time.now()
        let term = leaseTerm()
        guard let lease = try await journal.claim(secret, owner: visitor, term: term) else {
            throw .leaseLost(secret)
        }
        let record = try await journal.record(of: secret) ?? SecretRecord(name: secret)
        var session = SecretSession(record: record, lease: lease, core: self, term: term)
        do throws(JournalError) {
            try await session.commit { record, outbox in body(&record, &outbox, now) }
        } catch {
            await session.release()
            throw error
        }
        await session.release()
    }
}
