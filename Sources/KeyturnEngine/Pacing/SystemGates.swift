import Foundation
import KeyturnCore
import Synchronization

/// The door to every outside system: limits how many calls run at once and keeps a circuit breaker for each.
final class SystemGates: Sendable {
    private struct Gate {
        let semaphore: AsyncSemaphore
        var breaker = CircuitBreaker()
    }

    enum System: Hashable {
        case issuer(String)
        case backend(String)

        var text: String {
            switch self {
            case .issuer(let name): "issuer '\(name)'"
            case .backend(let name): "backend '\(name)'"
            }
        }
    }

    private let gates = Mutex<[System: Gate]>([:])
    private let settings: EngineSettings
    private let time: any Timekeeper

    init(settings: EngineSettings, time: any Timekeeper) {
        self.settings = settings
        self.time = time
    }

    /// Runs one call to a system.
    ///
    /// - Throws: what the call throws; `circuitOpen` when the system is being left alone; `cancelled`.
    func call<Result: Sendable>(
        _ system: System, _ body: () async throws(SystemError) -> Result
    ) async throws(SystemError) -> Result {
        let semaphore = gate(system).semaphore
        do {
            return try await semaphore.run {
                try self.admit(system)
                do {
                    let result = try await body()
                    self.record(system, failed: false)
                    return result
                } catch {
                    self.record(system, failed: (error as? SystemError)?.countsAgainstSystem ?? false)
                    throw error
                }
            }
        } catch let error as SystemError {
            throw error
        } catch {
            throw SystemError(.cancelled, "the call was cancelled before it began")
        }
    }

    private func gate(_ system: System) -> Gate {
        gates.withLock { gates in
            if let gate = gates[system] { return gate }
            let permits =
                switch system {
                case .issuer: settings.perIssuer
                case .backend: settings.perBackend
                }
            let gate = Gate(semaphore: AsyncSemaphore(permits: permits))
            gates[system] = gate
            return gate
        }
    }

    private func admit(_ system: System) throws(SystemError) {
        let now = time.now()
        guard let remaining = gates.withLock({ $0[system]?.breaker.remaining(at: now) }) else { return }
        throw SystemError(
            .circuitOpen, "\(system.text) failed repeatedly and is left alone for a while",
            advice: "see its last error; it is tried again by itself", retryAfter: remaining)
    }

    private func record(_ system: System, failed: Bool) {
        let now = time.now()
        gates.withLock { $0[system]?.breaker.record(success: !failed, at: now) }
    }
}
