import KeyturnCore

/// A backend in the world, as one process reaches it. It compares and swaps: a write that names another version than the
/// one it finds is refused, also when it comes late.
struct WorldBackend: Backend {
    let traits: BackendTraits
    private let world: World
    private let call: SimulatedCall

    init(_ name: String, staging: BackendTraits.Staging, process: SimulatedProcess, world: World) {
        traits = BackendTraits(staging: staging, readsBack: true, lists: true, destroys: true)
        self.world = world
        call = SimulatedCall(process: process, world: world, system: name)
    }

    private var isStaging: Bool { traits.staging == .unseen }

    func stage(_ write: VersionWrite, at target: BackendTarget) async throws(SystemError) -> StageResult {
        let world = world
        guard isStaging else { return .deferred("the newest write is current here") }
        return try await call.run("stage", write.secret) {
            world.checkIntent(write.secret, .stage(backend: target.backend), version: write.version)
        } _: { () throws(SystemError) in
            world.place(target)?.versions[write.version] = write.value
            return .staged(["v": "\(write.version)"])
        }
    }

    func promote(_ write: VersionWrite, at target: BackendTarget) async throws(SystemError) -> Receipt {
        let world = world
        return try await call.run("promote", write.secret, mayBeLate: true) {
            world.checkIntent(write.secret, .promote(backend: target.backend), version: write.version)
        } _: { () throws(SystemError) in
            guard let place = world.place(target), let secret = world.secrets[write.secret] else {
                throw SystemError(.notFound, "no such place")
            }
            if let number = place.current, let present = place.versions[number], !present.matches(write.value) {
                guard write.replaces?.value?.matches(present) == true || write.mayOverwrite else {
                    throw SystemError(.conflict, "another value is current")
                }
            }
            place.versions[write.version] = write.value
            world.setCurrent(write.version, at: place, of: secret)
            return ["v": "\(write.version)"]
        }
    }

    func read(_ selection: StoredSelection, at target: BackendTarget) async throws(SystemError) -> StoredValue? {
        let world = world
        return try await call.run("read", nil, changes: false) { () throws(SystemError) in
            guard let place = world.place(target) else { return nil }
            let number: Int?
            switch selection {
            case .current: number = place.current
            case .version(let reference): number = reference.version
            }
            return number.flatMap { place.versions[$0] }.map { StoredValue(value: $0, version: number, receipt: [:]) }
        }
    }

    func unstage(_ version: VersionReference, at target: BackendTarget) async throws(SystemError) {
        try await remove("unstage", version, target)
    }

    func prune(_ version: VersionReference, at target: BackendTarget) async throws(SystemError) {
        try await remove("prune", version, target)
    }

    private func remove(
        _ name: String, _ version: VersionReference, _ target: BackendTarget
    ) async throws(SystemError) {
        let world = world
        try await call.run(name, version.secret) { () throws(SystemError) in
            guard let place = world.place(target), place.current != version.version else { return }
            place.versions[version.version] = nil
        }
    }

    func list(at target: BackendTarget) async throws(SystemError) -> [ListedVersion] {
        let world = world
        return try await call.run("list", nil, changes: false) { () throws(SystemError) in
            guard let place = world.place(target) else { return [] }
            return place.versions.keys.sorted().map {
                ListedVersion(identifier: "\($0)", version: $0, isCurrent: $0 == place.current)
            }
        }
    }

    func probe(_ target: BackendTarget) async throws(SystemError) {
        try await call.run("probe", nil, changes: false) { () throws(SystemError) in }
    }
}
