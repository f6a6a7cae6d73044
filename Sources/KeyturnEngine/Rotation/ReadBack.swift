import Foundation
import KeyturnCore

/// Reads a backend until it shows the value that was written, for stores answer old values for a while after a change.
struct ReadBack {
    let core: EngineCore
    let workplace: Workplace

    /// - Throws: `notYet` when the value is another one after the patience has run out; what reading throws.
    func confirm(
        _ selection: StoredSelection, holds value: SecretValue, at target: BackendTarget, patience: Double
    ) async throws(SystemError) {
        let backend = try workplace.backend(target.backend)
        guard backend.traits.readsBack else { return }
        let deadline = core.time.now().addingTimeInterval(patience)
        while true {
            let stored = try await core.gates.call(.backend(target.backend)) { () throws(SystemError) in
                try await backend.read(selection, at: target)
            }
            if let stored, stored.value.matches(value) { return }
            guard core.time.now() < deadline, !core.stop.isAsked else {
                throw SystemError(
                    .notYet, "backend '\(target.backend)' does not show the value that was written",
                    advice: "see whether something else writes to it")
            }
            try await core.pause(core.settings.pollInterval)
        }
    }
}

extension EngineCore {
    /// Waits between two questions.
    func pause(_ seconds: Double) async throws(SystemError) {
        do { try await time.sleep(for: .milliseconds(Int64(seconds * 1000))) } catch {
            throw SystemError(.cancelled, "waiting was cancelled")
        }
    }
}
