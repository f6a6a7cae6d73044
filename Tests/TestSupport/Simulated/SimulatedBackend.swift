package import KeyturnCore
import Synchronization

/// A backend in memory, with or without the power to stage, whose current value a consumer can read at any moment.
package final class SimulatedBackend: Backend, Sendable {
    private struct Place {
        var versions: [Int: SecretValue] = [:]
        var current: Int?
        var foreign: SecretValue?
        var mark: WriteMark?

        var currentValue: SecretValue? { foreign ?? current.flatMap { versions[$0] } }
    }

    private struct State {
        var places: [String: Place] = [:]
        var calls: [String] = []
        var failures: [String: [SystemError]] = [:]
        /// Reads show the value before the last promote this many times.
        var staleReads = 0
        var before: [String: SecretValue] = [:]
    }

    package let traits: BackendTraits
    private let name: String
    private let state = Mutex(State())
    private let plan: CrashPlan

    package init(_ name: String, staging: BackendTraits.Staging, plan: CrashPlan = CrashPlan()) {
        self.name = name
        traits = BackendTraits(staging: staging, readsBack: true, lists: true, destroys: true)
        self.plan = plan
    }

    // MARK: For tests

    /// What a consumer gets.
    package func consumed(_ path: String) -> String? {
        state.withLock { $0.places[path]?.currentValue?.exposedText() }
    }
    package func versions(_ path: String) -> [Int] { state.withLock { $0.places[path]?.versions.keys.sorted() ?? [] } }
    package var calls: [String] { state.withLock { $0.calls } }
    package func fail(_ call: String, with errors: [SystemError]) { state.withLock { $0.failures[call] = errors } }
    package func beStale(forReads count: Int) { state.withLock { $0.staleReads = count } }
    /// Somebody else writes a value.
    package func overwrite(_ path: String, with text: String) {
        state.withLock { $0.places[path, default: Place()].foreign = SecretValue(utf8: text) }
    }

    // MARK: Backend

    package func stage(
        _ write: VersionWrite, at target: BackendTarget
    ) async throws(SystemError) -> StageResult {
        try call("stage") { state in
            guard traits.staging == .unseen else { return .deferred("the newest write is current here") }
            state.places[target.path, default: Place()].versions[write.version] = write.value
            return .staged(["v": "\(write.version)"])
        }
    }

    package func promote(_ write: VersionWrite, at target: BackendTarget) async throws(SystemError) -> Receipt {
        try call("promote") { state in
            var place = state.places[target.path] ?? Place()
            if let present = place.currentValue, !present.matches(write.value) {
                let isExpected = write.replaces?.value?.matches(present) ?? false
                guard isExpected || write.mayOverwrite else {
                    throw SystemError(.conflict, "another value is current at '\(name)'")
                }
                state.before[target.path] = present
            }
            place.versions[write.version] = write.value
            place.current = write.version
            place.foreign = nil
            place.mark = WriteMark(instance: write.instance, generation: write.generation, version: write.version)
            state.places[target.path] = place
            return ["v": "\(write.version)"]
        }
    }

    package func read(
        _ selection: StoredSelection, at target: BackendTarget
    ) async throws(SystemError) -> StoredValue? {
        try call("read") { state in
            guard let place = state.places[target.path] else { return nil }
            switch selection {
            case .current:
                if state.staleReads > 0, let old = state.before[target.path] {
                    state.staleReads -= 1
                    return StoredValue(value: old, version: nil, receipt: [:])
                }
                return place.currentValue.map { StoredValue(value: $0, version: place.current, receipt: [:]) }
            case .version(let reference):
                return place.versions[reference.version].map {
                    StoredValue(value: $0, version: reference.version, receipt: [:])
                }
            }
        }
    }

    package func mark(
        of secret: SecretName, instance: String, at target: BackendTarget
    ) async throws(SystemError) -> WriteMark? {
        try call("mark") { state in
            guard let place = state.places[target.path], place.foreign == nil else { return nil }
            return place.mark
        }
    }

    package func unstage(_ version: VersionReference, at target: BackendTarget) async throws(SystemError) {
        try remove("unstage", version, target)
    }

    package func prune(_ version: VersionReference, at target: BackendTarget) async throws(SystemError) {
        try remove("prune", version, target)
    }

    package func list(at target: BackendTarget) async throws(SystemError) -> [ListedVersion] {
        try call("list") { state in
            let place = state.places[target.path] ?? Place()
            return place.versions.keys.sorted().map {
                ListedVersion(identifier: "\($0)", version: $0, isCurrent: $0 == place.current)
            }
        }
    }

    package func probe(_ target: BackendTarget) async throws(SystemError) { try call("probe") { _ in } }

    private func remove(
        _ call: String, _ version: VersionReference, _ target: BackendTarget
    ) throws(SystemError) {
        try self.call(call) { state in
            guard state.places[target.path]?.current != version.version else { return }
            state.places[target.path]?.versions[version.version] = nil
        }
    }

    private func call<Result>(_ name: String, _ body: (inout State) throws -> Result) throws(SystemError) -> Result {
        do {
            return try plan.effect("\(self.name).\(name)") {
                try state.withLock { state in
                    state.calls.append(name)
                    if var planned = state.failures[name], !planned.isEmpty {
                        let error = planned.removeFirst()
                        state.failures[name] = planned
                        if error.mayHaveTakenEffect { _ = try body(&state) }
                        throw error
                    }
                    return try body(&state)
                }
            }
        } catch let error as SystemError {
            throw error
        } catch { throw .processDied }
    }
}
