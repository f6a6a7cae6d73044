package import Foundation
package import KeyturnCore
import Synchronization

/// An issuer in memory, of any kind, that knows which keys exist and tells whether a value works.
package final class SimulatedIssuer: DisablesKeys, ReportsLastUse, ListsKeys, Sendable {
    package struct Key: Sendable, Equatable {
        package let id: String
        package let text: String
        package let lineage: Lineage?
        package let createdAt: Date
        package var isEnabled = true
        package var lastUse: Date?
        package let expiresAt: Date?
    }

    private struct State {
        var keys: [String: Key] = [:]
        var made = 0
        var calls: [String] = []
        var failures: [String: [SystemError]] = [:]
        /// New keys are answered `notYet` this many times.
        var slowness: [String: Int] = [:]
        var propagation = 0
        var refusesNext = 0
        /// Revoked keys that are still accepted this many times.
        var afterlife: [String: Int] = [:]
        var linger = 0
        var beforeNextCheck: (@Sendable () -> Void)?
    }

    package let traits: IssuerTraits
    private let state = Mutex(State())
    private let plan: CrashPlan
    private let time: any Timekeeper

    package init(kind: IssuerKind, keyLimit: Int? = nil, plan: CrashPlan = CrashPlan(), time: any Timekeeper) {
        traits = IssuerTraits(
            kind: kind, keyLimit: keyLimit, enforcesExpiry: true, checks: true, disables: true, reportsLastUse: true)
        self.plan = plan
        self.time = time
    }

    // MARK: For tests

    package var keys: [Key] { state.withLock { $0.keys.values.sorted { $0.id < $1.id } } }
    package var calls: [String] { state.withLock { $0.calls } }

    /// The next calls of this name fail so, in turn.
    package func fail(_ call: String, with errors: [SystemError]) { state.withLock { $0.failures[call] = errors } }
    package func refuseNextKeys(_ count: Int) { state.withLock { $0.refusesNext = count } }
    package func delayNewKeys(byChecks count: Int) { state.withLock { $0.propagation = count } }
    /// Keys revoked from now on are accepted so many times more.
    package func lingerAfterRevoke(forChecks count: Int) { state.withLock { $0.linger = count } }
    /// What happens in the world when the next check arrives.
    package func beforeNextCheck(_ action: @escaping @Sendable () -> Void) {
        state.withLock { $0.beforeNextCheck = action }
    }
    package func use(_ text: String, at date: Date) {
        state.withLock { state in
            for (id, key) in state.keys where key.text == text { state.keys[id]?.lastUse = date }
        }
    }

    /// Whether a consumer that presents this text is served.
    package func accepts(_ text: String) -> Bool {
        let now = time.now()
        return state.withLock { state in
            state.keys.values.contains { key in
                key.text == text && key.isEnabled && key.expiresAt.map { $0 > now } ?? true
            }
        }
    }

    /// A key that another tool made.
    package func addForeignKey(_ id: String) {
        let now = time.now()
        state.withLock {
            $0.keys[id] = Key(id: id, text: "foreign-\(id)", lineage: nil, createdAt: now, expiresAt: nil)
        }
    }

    // MARK: Issuer

    package func prepare(_ request: IssueRequest) async throws(SystemError) -> IssuePreparation {
        try call("prepare") { state in
            let notes = ["existing": state.keys.keys.sorted().joined(separator: " ")]
            guard traits.kind == .chosen else { return IssuePreparation(notes: notes) }
            let text = "chosen-\(request.lineage.nonce)"
            return IssuePreparation(notes: notes, chosen: KeyMaterial(value: SecretValue(utf8: text)))
        }
    }

    package func issue(
        _ request: IssueRequest, prepared: IssuePreparation
    ) async throws(SystemError) -> IssuedKey {
        let now = time.now()
        return try call("issue") { state in
            let text: String
            let id: String
            if let chosen = prepared.chosen, let exposed = chosen.value.exposedText() {
                text = exposed
                id = "id-\(request.lineage.nonce)"
            } else {
                state.made += 1
                text = "made-\(state.made)-\(request.lineage.nonce)"
                id = "key-\(state.made)"
            }
            if let limit = traits.keyLimit, state.keys[id] == nil, state.keys.count >= limit {
                throw SystemError(.limitExceeded, "no more than \(limit) keys")
            }
            let expiresAt = request.lifetime.map { now.addingTimeInterval(TimeInterval($0)) }
            state.keys[id] = Key(
                id: id, text: text, lineage: request.lineage, createdAt: now, expiresAt: expiresAt)
            state.slowness[id] = state.propagation
            return IssuedKey(
                material: KeyMaterial(value: SecretValue(utf8: text)), keyID: id, issuedAt: now, expiresAt: expiresAt)
        }
    }

    package func resolve(
        _ request: IssueRequest, prepared: IssuePreparation
    ) async throws(SystemError) -> IssueResolution {
        try call("resolve") { state in
            let ours = state.keys.values.filter { $0.lineage == request.lineage }
            switch traits.kind {
            case .listable: return ours.isEmpty ? .neverMade : .orphaned(keyIDs: ours.map(\.id))
            case .unlistable:
                return .unknowable(
                    diesAt: request.lifetime.map { request.intendedAt.addingTimeInterval(TimeInterval($0)) })
            case .chosen, .slots: return .neverMade
            }
        }
    }

    package func check(_ key: KeyHandle) async throws(SystemError) -> KeyCheck {
        let action = state.withLock { state in
            defer { state.beforeNextCheck = nil }
            return state.beforeNextCheck
        }
        action?()
        let now = time.now()
        return try call("check") { state in
            if let text = key.material?.value.exposedText(), let left = state.afterlife[text], left > 0 {
                state.afterlife[text] = left - 1
                return .works
            }
            guard let text = key.material?.value.exposedText(),
                let found = state.keys.values.first(where: { $0.text == text })
            else { return .refused("unknown key") }
            if state.refusesNext > 0, found.lineage?.version == key.version {
                state.refusesNext -= 1
                return .refused("it was rejected")
            }
            if let left = state.slowness[found.id], left > 0 {
                state.slowness[found.id] = left - 1
                return .notYet("not known everywhere yet")
            }
            guard found.isEnabled else { return .refused("disabled") }
            return found.expiresAt.map { $0 > now } ?? true ? .works : .refused("expired")
        }
    }

    package func revoke(_ key: KeyHandle) async throws(SystemError) {
        try call("revoke") { state in
            guard let id = key.keyID else { return }
            if let text = state.keys[id]?.text, state.linger > 0 { state.afterlife[text] = state.linger }
            state.keys[id] = nil
        }
    }

    package func keys(for parameters: Parameters) async throws(SystemError) -> [ListedKey] {
        try call("list") { state in
            guard traits.kind == .listable else { return [] }
            return state.keys.values.sorted { $0.id < $1.id }.map {
                ListedKey(keyID: $0.id, createdAt: $0.createdAt, lineage: $0.lineage)
            }
        }
    }

    package func disable(_ key: KeyHandle) async throws(SystemError) { try switchKey("disable", key, on: false) }
    package func enable(_ key: KeyHandle) async throws(SystemError) { try switchKey("enable", key, on: true) }

    package func lastUse(of key: KeyHandle) async throws(SystemError) -> Date? {
        try call("lastUse") { state in key.keyID.flatMap { state.keys[$0]?.lastUse } }
    }

    private func switchKey(_ name: String, _ key: KeyHandle, on: Bool) throws(SystemError) {
        try call(name) { state in
            guard let id = key.keyID, state.keys[id] != nil else { throw SystemError(.notFound, "no such key") }
            state.keys[id]?.isEnabled = on
        }
    }

    private func call<Result>(_ name: String, _ body: (inout State) throws -> Result) throws(SystemError) -> Result {
        do {
            return try plan.effect("issuer.\(name)") {
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
