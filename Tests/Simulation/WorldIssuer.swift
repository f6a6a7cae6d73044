import Foundation
import KeyturnCore
import TestSupport

/// An issuer of one kind in the world, as one process reaches it.
struct WorldIssuer: DisablesKeys, ReportsLastUse {
    let traits: IssuerTraits
    private let world: World
    private let call: SimulatedCall

    /// How long a key that was asked for may take to come into being, in seconds.
    static let listingPatience = 15.0

    init(_ kind: IssuerKind, process: SimulatedProcess, world: World) {
        traits = IssuerTraits(
            kind: kind, keyLimit: kind == .slots ? 2 : nil, enforcesExpiry: kind != .slots, checks: true,
            disables: true,
            reportsLastUse: true)
        self.world = world
        call = SimulatedCall(process: process, world: world, system: "issuer-\(kind.rawValue)")
    }

    func prepare(_ request: IssueRequest) async throws(SystemError) -> IssuePreparation {
        let world = world
        let kind = traits.kind
        return try await call.run("prepare", request.lineage.secret, changes: false) { () throws(SystemError) in
            switch kind {
            case .chosen:
                let text = world.freshText()
                return IssuePreparation(chosen: KeyMaterial(value: SecretValue(utf8: text)))
            case .slots:
                let held = world.journal.durable(request.lineage.secret)?.current?.keyID
                let slots = ["a", "b"].map { "\(request.lineage.secret)/\($0)" }
                return IssuePreparation(notes: ["slot": slots.first { $0 != held } ?? slots[0]])
            case .listable, .unlistable: return IssuePreparation()
            }
        }
    }

    func issue(_ request: IssueRequest, prepared: IssuePreparation) async throws(SystemError) -> IssuedKey {
        let world = world
        let kind = traits.kind
        let lineage = request.lineage
        // A request that makes a key goes out on a connection of its own, and only once.
        let makesAnother = kind == .listable || kind == .unlistable
        return try await call.run(
            "issue", lineage.secret, mayBeRepeated: !makesAnother, mayBeLate: makesAnother
        ) {
            world.checkIntent(lineage.secret, .issue, version: lineage.version, nonce: lineage.nonce)
        } _: {
            () throws(SystemError) in
            let text = prepared.chosen?.value.exposedText() ?? world.freshText()
            let id = prepared.notes["slot"] ?? (kind == .chosen ? "chosen-\(lineage.nonce)" : world.freshID())
            guard let secret = world.secrets[lineage.secret] else { throw SystemError(.notFound, "no such subject") }
            if kind == .slots, let old = secret.keys[id] { world.checkRetiring(old.text, of: secret) }
            let now = world.clock.now
            let known = secret.keys[id].flatMap { $0.text == text ? $0 : nil }
            let expiresAt = known.map(\.expiresAt) ?? (kind == .slots ? nil : request.lifetime.map { now + Double($0) })
            // Setting the same key again changes nothing.
            if known == nil {
                secret.keys.put(
                    KeyStore.Key(
                        id: id, text: text, lineage: lineage, expiresAt: expiresAt,
                        isRejected: world.happens(.keyRefused),
                        settledAt: world.happens(.settlesLate) ? now + world.between(0, 20) : now))
                if let expiresAt {
                    world.clock.at(expiresAt) { if secret.keys[id] != nil { world.checkServed(secret.name) } }
                }
            }
            return IssuedKey(
                material: KeyMaterial(value: SecretValue(utf8: text)), keyID: id, issuedAt: world.clock.date,
                expiresAt: expiresAt.map(Date.init(timeIntervalSince1970:))
                    ?? request.lifetime.map { world.clock.date.addingTimeInterval(Double($0)) })
        }
    }

    func resolve(_ request: IssueRequest, prepared: IssuePreparation) async throws(SystemError) -> IssueResolution {
        let world = world
        let kind = traits.kind
        return try await call.run("resolve", request.lineage.secret, changes: false) { () throws(SystemError) in
            switch kind {
            case .slots: return .neverMade
            case .chosen:
                guard let chosen = prepared.chosen,
                    let found = world.secrets[request.lineage.secret]?.keys.all.first(where: {
                        $0.lineage == request.lineage
                    })
                else { return .neverMade }
                return .made(
                    IssuedKey(
                        material: chosen, keyID: found.id, issuedAt: request.intendedAt,
                        expiresAt: found.expiresAt.map(Date.init(timeIntervalSince1970:))))
            case .unlistable:
                world.counts.possibleOrphans += 1
                // The latest moment at which it may have been made, and a life from then on.
                return .unknowable(
                    diesAt: request.lifetime.map {
                        request.intendedAt.addingTimeInterval(Double($0) + Self.listingPatience)
                    })
            case .listable:
                let keys = world.secrets[request.lineage.secret]?.keys.all ?? []
                let found = keys.filter { $0.lineage == request.lineage }.map(\.id)
                guard found.isEmpty else { return .orphaned(keyIDs: found) }
                return request.waited < Self.listingPatience
                    ? .undecided(retryAfter: Self.listingPatience - request.waited) : .neverMade
            }
        }
    }

    func check(_ key: KeyHandle) async throws(SystemError) -> KeyCheck {
        let world = world
        return try await call.run("check", key.secret, changes: false) { () throws(SystemError) in
            guard let text = key.material?.value.exposedText() else { return .cannotTell }
            guard let secret = world.secrets[key.secret], let found = secret.keys.key(text: text) else {
                return .refused("unknown key")
            }
            if found.isRejected { return .refused("rejected") }
            if world.clock.now < found.settledAt { return .notYet("not known everywhere yet") }
            return found.works(at: world.clock.now) ? .works : .refused("disabled or expired")
        }
    }

    func revoke(_ key: KeyHandle) async throws(SystemError) {
        let world = world
        let kind = traits.kind
        try await call.run("revoke", key.secret) { () throws(SystemError) in
            guard let secret = world.secrets[key.secret], let id = key.keyID, let found = secret.keys[id] else {
                return
            }
            // A slot that holds another key by now is not the one that is meant.
            if kind == .slots, let text = key.material?.value.exposedText(), text != found.text { return }
            world.checkRetiring(found.text, of: secret)
            secret.keys.remove(id)
            world.counts.retired += 1
        }
    }

    func disable(_ key: KeyHandle) async throws(SystemError) {
        let world = world
        try await call.run("disable", key.secret) { () throws(SystemError) in
            guard let secret = world.secrets[key.secret], let id = key.keyID, let found = secret.keys[id] else {
                throw SystemError(.notFound, "no such key")
            }
            world.checkRetiring(found.text, of: secret)
            secret.keys.setEnabled(id, false)
        }
    }

    func enable(_ key: KeyHandle) async throws(SystemError) {
        let world = world
        try await call.run("enable", key.secret) { () throws(SystemError) in
            guard let secret = world.secrets[key.secret], let id = key.keyID, secret.keys[id] != nil else {
                throw SystemError(.notFound, "no such key")
            }
            secret.keys.setEnabled(id, true)
        }
    }

    func lastUse(of key: KeyHandle) async throws(SystemError) -> Date? {
        let world = world
        return try await call.run("lastUse", key.secret, changes: false) { () throws(SystemError) in
            guard let secret = world.secrets[key.secret], let found = key.keyID.flatMap({ secret.keys[$0] }) else {
                return nil
            }
            return secret.lastUse(of: found.text, until: world.clock.now).map(Date.init(timeIntervalSince1970:))
        }
    }
}
