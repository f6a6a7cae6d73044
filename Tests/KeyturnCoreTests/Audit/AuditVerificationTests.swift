import Foundation
import KeyturnCore
import Testing

/// Every kind of tampering, at every place.
@Suite("Checkpoints of the audit trail")
struct AuditVerificationTests {
    private static let instance = "11111111-2222-4333-8444-555555555555"
    private static let start = Date(timeIntervalSince1970: 1_800_000_000.25)

    private let key = AuditSigningKey()
    private let count = 8
    private let covered: [Int64] = [3, 6, 8]

    private func event(_ index: Int) throws -> AuditEvent {
        AuditEvent(
            at: Self.start.addingTimeInterval(Double(index)), kind: "step.succeeded",
            secret: try SecretName("team/key"),
            version: index, step: "issue", actor: "engine", detail: ["keyId": "k\(index)"])
    }

    private func chain(_ events: [AuditEvent], after: Int64 = 0, hash: String = AuditChain.start) -> [AuditEntry] {
        var entries: [AuditEntry] = []
        for event in events {
            let sequence = (entries.last?.sequence ?? after) + 1
            let previous = entries.last?.hash ?? hash
            entries.append(
                AuditEntry(
                    sequence: sequence, event: event, previousHash: previous,
                    hash: AuditChain.digest(sequence: sequence, event: event, previousHash: previous)))
        }
        return entries
    }

    private func whole() throws -> [AuditEntry] { chain(try (1...count).map(event)) }

    private func checkpoints(_ entries: [AuditEntry], by key: AuditSigningKey? = nil) throws -> [AuditCheckpoint] {
        try covered.map { sequence in
            try #require(
                AuditCheckpoint(
                    sequence: sequence, head: entries[Int(sequence) - 1].hash,
                    at: Self.start.addingTimeInterval(Double(sequence)), instance: Self.instance,
                    signedBy: key ?? self.key))
        }
    }

    private func verify(
        _ entries: [AuditEntry], _ checkpoints: [AuditCheckpoint], trusted: [AuditPublicKey]? = nil
    ) -> AuditVerification {
        var verification = AuditVerification(trusted: trusted ?? [key.publicKey], instance: Self.instance)
        for entry in entries { verification.add(.entry(entry)) }
        let hashes = Dictionary(entries.map { ($0.sequence, $0.hash) }) { first, _ in first }
        for checkpoint in checkpoints { verification.add(checkpoint, hash: hashes[checkpoint.sequence]) }
        return verification
    }

    private func findings(_ entries: [AuditEntry], _ checkpoints: [AuditCheckpoint]) -> [AuditChain.Break] {
        verify(entries, checkpoints).findings
    }

    @Test func aWholeTrailIsCovered() throws {
        let entries = try whole()
        let result = verify(entries, try checkpoints(entries))
        #expect(result.findings.isEmpty)
        #expect(result.checkpoints == 3)
        #expect(result.newest?.sequence == 8)
        #expect(result.keys == [key.publicKey])
        #expect(result.uncovered == nil)
        let fewer = verify(entries, Array(try checkpoints(entries).prefix(2)))
        #expect(fewer.findings.isEmpty)
        #expect(fewer.uncovered == 7...8)
        #expect(verify(entries, []).uncovered == 1...8)
        #expect(verify([], []).uncovered == nil)
    }

    @Test func everyRemovedEntryIsNamed() throws {
        let entries = try whole()
        for index in entries.indices {
            var rest = entries
            rest.remove(at: index)
            let found = findings(rest, try checkpoints(entries))
            #expect(found.first?.sequence == Int64(index + 1), "\(index): \(found)")
            #expect(found.count == 1, "\(index): \(found)")
        }
    }

    @Test func everyCutIsFoundWithHowMuchIsLeft() throws {
        let entries = try whole()
        for left in 0..<count {
            let found = findings(Array(entries.prefix(left)), try checkpoints(entries))
            #expect(
                found == [
                    AuditChain.Break(
                        sequence: Int64(left + 1),
                        problem: "the trail is cut off: the checkpoint of 2027-01-15T08:00:08.250Z over entry 8 says"
                            + " there were 8 entries; \(left) are left")
                ])
        }
    }

    @Test func everyMemberOfEveryEntryIsGuarded() throws {
        let entries = try whole()
        for index in entries.indices {
            let old = entries[index]
            let event = old.event
            func with(
                at: Date? = nil, kind: String? = nil, secret: SecretName?? = nil, version: Int?? = nil,
                step: String?? = nil, actor: String? = nil, detail: [String: String]? = nil
            ) -> AuditEntry {
                AuditEntry(
                    sequence: old.sequence,
                    event: AuditEvent(
                        at: at ?? event.at, kind: kind ?? event.kind, secret: secret ?? event.secret,
                        version: version ?? event.version, step: step ?? event.step, actor: actor ?? event.actor,
                        detail: detail ?? event.detail), previousHash: old.previousHash, hash: old.hash)
            }
            let zeros = String(repeating: "0", count: 64)
            var changes = [
                with(at: event.at.addingTimeInterval(0.001)), with(kind: "x"),
                with(secret: .some(try SecretName("team/other"))), with(secret: .some(nil)), with(version: .some(99)),
                with(version: .some(nil)), with(step: .some("x")), with(step: .some(nil)), with(actor: "x"),
                with(detail: [:]), with(detail: ["keyId": "x"]), with(detail: ["keyID": "k\(index + 1)"]),
                with(detail: event.detail.merging(["more": ""]) { first, _ in first }),
                AuditEntry(sequence: old.sequence, event: event, previousHash: old.previousHash, hash: zeros),
            ]
            if index > 0 {
                changes.append(AuditEntry(sequence: old.sequence, event: event, previousHash: zeros, hash: old.hash))
            }
            for change in changes {
                var copy = entries
                copy[index] = change
                let found = findings(copy, try checkpoints(entries))
                #expect(found.first?.sequence == old.sequence, "\(change): \(found)")
                #expect(
                    found.first?.problem == "entry \(old.sequence) was changed after it was written", "\(change)")
            }
        }
    }

    @Test func everyPairThatChangedPlacesIsNamed() throws {
        let entries = try whole()
        for left in entries.indices {
            for right in entries.indices where left < right {
                var moved = entries
                moved.swapAt(left, right)
                let found = findings(moved, try checkpoints(entries))
                #expect(found.contains { $0.sequence == Int64(left + 1) }, "\(left), \(right): \(found)")
                // The same where rows are sorted by number.
                var exchanged = entries
                func put(_ entry: AuditEntry, at index: Int) {
                    exchanged[index] = AuditEntry(
                        sequence: Int64(index + 1), event: entry.event, previousHash: entry.previousHash,
                        hash: entry.hash)
                }
                put(entries[right], at: left)
                put(entries[left], at: right)
                let named = findings(exchanged, try checkpoints(entries)).map(\.problem)
                #expect(named.contains("entry \(left + 1) was replaced by what was written as entry \(right + 1)"))
                #expect(named.contains("entry \(right + 1) was replaced by what was written as entry \(left + 1)"))
            }
        }
    }

    @Test func everyDoubledEntryIsNamed() throws {
        let entries = try whole()
        for index in entries.indices {
            for place in index + 1...entries.count {
                var doubled = entries
                doubled.insert(entries[index], at: place)
                let found = findings(doubled, try checkpoints(entries))
                #expect(
                    found.map(\.problem) == ["entry \(index + 1) is there again, behind entry \(place)"],
                    "\(index), \(place)")
            }
        }
    }

    /// The chain is whole then: only a signature tells.
    @Test func aChainThatIsComputedAnewIsFoundAtEveryPlace() throws {
        let entries = try whole()
        for index in entries.indices {
            var events = entries.map(\.event)
            events[index] = try event(99)
            let forged = chain(events)
            #expect(AuditChain.firstBreak(in: forged) == nil)
            let found = findings(forged, try checkpoints(entries))
            let first = try #require(covered.first { $0 >= Int64(index + 1) })
            #expect(found.map(\.sequence) == [first], "\(index): \(found)")
            #expect(found.first?.problem.contains("was rewritten after that") == true)
        }
    }

    @Test func everyMemberOfACheckpointIsSigned() throws {
        let entries = try whole()
        let good = try checkpoints(entries)[1]
        func with(
            sequence: Int64? = nil, head: String? = nil, entries: Int64? = nil, at: Date? = nil,
            instance: String? = nil, key: AuditPublicKey? = nil, signature: Data? = nil
        ) -> AuditCheckpoint {
            AuditCheckpoint(
                sequence: sequence ?? good.sequence, head: head ?? good.head, entries: entries ?? good.entries,
                at: at ?? good.at, instance: instance ?? good.instance, key: key ?? good.key,
                signature: signature ?? good.signature)
        }
        var forged = [
            with(sequence: 5), with(head: entries[0].hash), with(entries: 5), with(at: .distantPast),
            with(instance: "x"), with(key: AuditSigningKey().publicKey), with(signature: Data()),
        ]
        for bit in 0..<512 {
            var signature = good.signature
            signature[signature.startIndex + bit / 8] ^= 1 << (bit % 8)
            forged.append(with(signature: signature))
        }
        for checkpoint in forged {
            #expect(!checkpoint.isAuthentic)
            let found = findings(entries, [checkpoint])
            #expect(found.count == 1 && found.first?.problem.contains("was changed, or forged") == true, "\(found)")
        }
        #expect(good.isAuthentic)
    }

    @Test func aForeignKeyIsNamedAndATruncationUnderItIsNoTruncation() throws {
        let entries = try whole()
        let stranger = AuditSigningKey()
        let found = findings(Array(entries.prefix(2)), try checkpoints(entries, by: stranger))
        #expect(found.count == 3)
        #expect(found.allSatisfy { $0.problem.contains("was signed by another key, \(stranger.publicKey)") })
        // Where no key is known, any may have signed.
        #expect(verify(entries, try checkpoints(entries, by: stranger), trusted: []).findings.isEmpty)
        let other = try #require(
            AuditCheckpoint(
                sequence: 3, head: entries[2].hash, at: Self.start, instance: "another", signedBy: key))
        #expect(findings(entries, [other]).first?.problem.contains("is that of another installation") == true)
    }

    @Test func anExportThatBeginsLaterIsHeldAgainstWhatItHolds() throws {
        let entries = try whole()
        var part = AuditVerification(
            start: AuditLine.Start(instance: Self.instance, after: 4, hash: entries[3].hash),
            trusted: [key.publicKey], instance: Self.instance)
        for entry in entries.dropFirst(4) { part.add(.entry(entry)) }
        for checkpoint in try checkpoints(entries) {
            part.add(
                checkpoint, hash: checkpoint.sequence > 4 ? entries[Int(checkpoint.sequence) - 1].hash : nil)
        }
        #expect(part.findings.isEmpty)
        #expect(part.checkpoints == 2)
        #expect(part.chain.count == 4)
    }
}
