import Foundation
import KeyturnCore
import TestSupport

/// The promises of the design, each checked after every event that it can depend on.
extension World {
    /// Promise 1: whoever reads a backend, or read it less than the grace ago, has a key that works.
    func checkServed(_ name: SecretName) {
        counts.checks += 1
        guard let secret = secrets[name] else { return }
        let now = clock.now
        for place in secret.placesInUse {
            guard let served = place.served, !secret.keys.accepts(served, at: now), !secret.tainted.contains(served)
            else { continue }
            fail(1, name, "\(place.target.backend) serves \(served) of \(name), which is refused")
        }
        for consumer in secret.consumers {
            guard let held = consumer.held(at: now), !secret.keys.accepts(held, at: now),
                !secret.tainted.contains(held)
            else { continue }
            fail(1, name, "a consumer of \(consumer.place.target.backend) holds \(held) of \(name), which is refused")
        }
    }

    /// Promise 2, on what is durable.
    func checkRecord(_ record: SecretRecord) {
        counts.checks += 1
        let name = record.name
        var isTainted = false
        var current = 0
        var pending: [Int] = []
        for index in record.versions.indices {
            if record.versions[index].stage == .current { current += 1 }
            if record.versions[index].stage == .pending { pending.append(record.versions[index].number) }
            if record.versions[index].stage == .abandoned { checkUndone(record.versions[index].number, of: name) }
            isTainted = isTainted || record.versions[index].tainted
        }
        if current > 1 { fail(2, name, "\(name) has two current versions") }
        if pending.count > 1 { fail(2, name, "\(name) has two pending versions") }
        if let number = pending.first, record.rotation?.version != number {
            fail(2, name, "version \(number) of \(name) is pending without a rotation")
        }
        if isTainted, let secret = secrets[name] {
            let tainted = record.versions.filter(\.tainted).compactMap(\.keyID)
            secret.tainted.formUnion(tainted.compactMap { secret.keys[$0]?.text })
        }
        notePromotion(record)
    }

    /// Promise 5: what was given up left nothing behind in a place that is in use.
    private func checkUndone(_ number: Int, of name: SecretName) {
        for place in secrets[name]?.places ?? [] where place.versions[number] != nil {
            guard secrets[name]?.uses(place) == true else { continue }
            fail(5, name, "\(place.target.backend) still holds version \(number) of \(name), which was given up")
        }
    }

    /// Promise 7: none run twice.
    private func notePromotion(_ record: SecretRecord) {
        guard let index = record.versions.indices.last(where: { record.versions[$0].stage == .current }),
            let secret = secrets[record.name], record.versions[index].number != secret.lastVersion
        else { return }
        let number = record.versions[index].number
        counts.rotations += 1
        // A key that was long on its way is replaced before its end, however short it was current.
        let end = record.version(secret.lastVersion)?.expiresAt?.timeIntervalSince1970
        let isEnding = end.map { $0 - clock.now < secret.every * 1.1 } ?? false
        if let last = secret.lastPromotion, !secret.mayRotateEarly, !isEnding, clock.now - last < secret.every * 0.8 {
            fail(7, record.name, "\(record.name) rotated again after \(Int(clock.now - last)) s")
        }
        secret.lastPromotion = clock.now
        secret.lastVersion = number
        // What asks for more than a new key, and came too late for this one, asks for another.
        let open = journal.durable(record.name)?.request.map { $0.compromised || $0.rollsBack } ?? false
        secret.mayRotateEarly = wallOffset != 0 || open
        trace(record.name, "\(record.name): version \(number) is current")
    }

    /// Promise 3: each key that exists is accounted for.
    func checkOrphans(_ name: SecretName) {
        counts.checks += 1
        guard let secret = secrets[name], secret.kind != .slots else { return }
        let record = journal.durable(name)
        for key in secret.keys.all where key.expiresAt.map({ $0 > clock.now }) ?? true {
            if let record, record.versions.indices.contains(where: { record.versions[$0].holds(key.id) }) { continue }
            if record?.rotation?.issueIntent?.nonce == key.lineage.nonce { continue }
            if journal.hasOrphan(key.lineage.description) { continue }
            fail(3, name, "key \(key.id) of \(name), version \(key.lineage.version), is an orphan")
        }
    }

    /// Promise 4: nothing that somebody may still use is taken away.
    func checkRetiring(_ text: String, of secret: SecretWorld) {
        counts.checks += 1
        guard !secret.tainted.contains(text) else { return }
        let name = secret.name
        if secret.isServed(text) { return fail(4, name, "\(text) of \(name) is revoked while a backend serves it") }
        guard secret.everServed.contains(text) else { return }
        guard let replacedAt = secret.replacedAt[text] else {
            return fail(4, name, "\(text) of \(name) is revoked and was never replaced")
        }
        if clock.now - replacedAt < secret.grace - 1 {
            fail(4, name, "\(text) of \(name) is revoked \(Int(clock.now - replacedAt)) s after it was replaced")
        }
        // A key that is switched off already can't be used again.
        guard secret.keys.accepts(text, at: clock.now) else { return }
        if let quiet = secret.whenUnused, let used = secret.lastUse(of: text, until: clock.now),
            clock.now - used < quiet - 1
        {
            fail(4, name, "\(text) of \(name) is revoked \(Int(clock.now - used)) s after its last use")
        }
    }

    /// Promise 5: what happens outside is written down before, with the key's value safe.
    func checkIntent(_ secret: SecretName, _ step: RotationStep, version: Int, nonce: String? = nil) {
        counts.checks += 1
        let record = journal.durable(secret)
        let isIntended: Bool
        switch step {
        case .issue: isIntended = record?.rotation?.issueIntent.map { $0.nonce == nonce } ?? false
        case .stage: isIntended = record?.version(version)?.sealed != nil
        case .promote(let backend):
            let progress = record?.rotation.flatMap { $0.version == version ? $0.machine.progress(of: backend) : nil }
            let isDone = (record?.current?.number ?? 0) >= version
            isIntended =
                record?.version(version)?.sealed != nil && (progress?.progress == .promoting || isDone)
                || progress?.progress == .promoted
        default: isIntended = true
        }
        if !isIntended {
            fail(5, secret, "\(step.text) of \(secret), version \(version), without a durable intent")
        }
    }

    /// Promise 6, on what is written: no key open.
    func checkSealed(_ change: JournalChange, after before: SecretRecord?) {
        counts.checks += 1
        let name = change.record.name
        // What was written before was looked at then.
        let versions = change.record.versions
        for index in versions.indices
        where before?.versions.indices.contains(index) != true
            || before?.versions[index].sealed != versions[index].sealed
        {
            guard let sealed = versions[index].sealed, KeyMark.isIn(sealed) else { continue }
            fail(6, name, "version \(versions[index].number) of \(name) is written unsealed")
        }
        if let chosen = change.record.rotation?.issueIntent?.sealedChosen,
            before?.rotation?.issueIntent?.sealedChosen != chosen, KeyMark.isIn(chosen)
        {
            fail(6, name, "a chosen key of \(name) is written unsealed")
        }
        for event in change.audit { checkTold(event.detail.values, of: name) }
        for alert in change.alerts { checkTold([alert.event.summary, alert.event.advice], of: name) }
    }

    private func checkTold(_ texts: some Sequence<String>, of name: SecretName) {
        if texts.contains(where: KeyMark.isIn) { fail(6, name, "a value of \(name) is told") }
    }
}

extension VersionRecord {
    /// Whether it accounts for a key that exists.
    fileprivate func holds(_ keyID: String) -> Bool { self.keyID == keyID && stage.mayExistAtIssuer }
}
