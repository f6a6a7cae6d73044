import Foundation
import Testing

@testable import KeyturnCore

@Suite("The audit chain")
struct AuditChainTests {
    private static let secret = try? SecretName("team/key")

    private func chain(_ count: Int) -> [AuditEntry] {
        var entries: [AuditEntry] = []
        for index in 0..<count {
            let event = AuditEvent(
                at: Date(timeIntervalSince1970: 1_800_000_000 + Double(index)), kind: "step.succeeded",
                secret: Self.secret, version: index, step: "issue", actor: "engine",
                detail: ["keyId": "k\(index)", "code": "c"])
            entries.append(entry(Int64(index + 1), event, after: entries.last?.hash ?? AuditChain.start))
        }
        return entries
    }

    private func entry(_ sequence: Int64, _ event: AuditEvent, after previous: String) -> AuditEntry {
        AuditEntry(
            sequence: sequence, event: event, previousHash: previous,
            hash: AuditChain.digest(sequence: sequence, event: event, previousHash: previous))
    }

    private func changed(
        _ entry: AuditEntry, at: Date? = nil, kind: String? = nil, secret: SecretName?? = nil, version: Int?? = nil,
        step: String?? = nil, actor: String? = nil, detail: [String: String]? = nil
    ) -> AuditEntry {
        let old = entry.event
        let event = AuditEvent(
            at: at ?? old.at, kind: kind ?? old.kind, secret: secret ?? old.secret, version: version ?? old.version,
            step: step ?? old.step, actor: actor ?? old.actor, detail: detail ?? old.detail)
        return AuditEntry(
            sequence: entry.sequence, event: event, previousHash: entry.previousHash, hash: entry.hash)
    }

    @Test func aWholeChainHasNoBreak() {
        let entries = chain(20)
        #expect(AuditChain.firstBreak(in: entries) == nil)
        var checker = AuditChain.Checker()
        for entry in entries { checker.add(entry) }
        #expect(checker.count == 20)
        #expect(checker.head == entries.last?.hash)
        #expect(AuditChain.firstBreak(in: [AuditEntry]()) == nil)
    }

    /// Held down so that no later version reads old trails as broken.
    @Test func theDigestIsTheOneThatStandsInTrails() throws {
        let event = AuditEvent(
            at: Date(timeIntervalSince1970: 1_800_000_000.123), kind: "version.promoted",
            secret: try SecretName("team/key"), version: 3, step: nil, actor: "engine", detail: ["b": "2", "a": "1"])
        // printf '1:1 64:000…0 13:1800000000123 16:version.promoted 8:team/key 1:3 0: 6:engine 1:a 1:1 1:b 1:2' without
        // the spaces, into sha256sum.
        #expect(
            AuditChain.digest(sequence: 1, event: event, previousHash: AuditChain.start)
                == "c23768ebfc4aaf3724e1a8e0ecbce7bc366dc82e7fb46fa283dd3a6313830ae0")
    }

    @Test func everyChangedMemberIsFound() throws {
        let entries = chain(5)
        let original = entries[2]
        let tampered = [
            changed(original, at: original.event.at.addingTimeInterval(0.001)),
            changed(original, kind: "step.failed"),
            changed(original, secret: .some(try SecretName("team/other"))),
            changed(original, secret: .some(nil)),
            changed(original, version: .some(99)), changed(original, version: .some(nil)),
            changed(original, step: .some("revoke")), changed(original, step: .some(nil)),
            changed(original, actor: "somebody"),
            changed(original, detail: ["keyId": "k2"]), changed(original, detail: ["keyId": "k2", "code": "d"]),
            changed(original, detail: ["keyId": "k2", "code": "c", "more": ""]),
            changed(original, detail: ["keyI": "dk2", "code": "c"]),
        ]
        for entry in tampered {
            var copy = entries
            copy[2] = entry
            #expect(
                AuditChain.firstBreak(in: copy)
                    == AuditChain.Break(sequence: 3, problem: "entry 3 was changed after it was written"),
                "\(entry.event)")
        }
    }

    @Test func anEntryThatIsRewrittenWithItsHashBreaksTheNext() {
        var entries = chain(5)
        let forged = changed(entries[2], kind: "step.failed")
        entries[2] = entry(3, forged.event, after: forged.previousHash)
        #expect(
            AuditChain.firstBreak(in: entries)
                == AuditChain.Break(
                    sequence: 4, problem: "entry 4 does not follow entry 3: one of the two was rewritten"))
    }

    @Test func anEntryThatIsTakenOutIsMissed() {
        var entries = chain(5)
        entries.remove(at: 2)
        #expect(
            AuditChain.firstBreak(in: entries)
                == AuditChain.Break(sequence: 3, problem: "entry 3 is missing; the next one found is 4"))
        #expect(
            AuditChain.firstBreak(in: chain(5).dropFirst())
                == AuditChain.Break(sequence: 1, problem: "entry 1 is missing; the next one found is 2"))
    }

    private func breaks(_ entries: [AuditEntry]) -> [String] {
        var checker = AuditChain.Checker()
        for entry in entries { checker.add(entry) }
        return checker.breaks.map(\.problem)
    }

    @Test func anEntryThatIsPutInOrDoubledOrMovedIsFound() {
        let whole = chain(6)
        var doubled = whole
        doubled.insert(whole[1], at: 4)
        #expect(breaks(doubled) == ["entry 2 is there again, behind entry 4"])
        var moved = whole
        moved.insert(moved.remove(at: 1), at: 3)
        #expect(breaks(moved) == ["entry 2 was moved: it stands behind entry 4"])
        var inserted = whole
        inserted.insert(entry(0, whole[2].event, after: AuditChain.start), at: 0)
        #expect(breaks(inserted) == ["entry 0 was put in: the trail begins with entry 1"])
        inserted[0] = entry(.max, whole[2].event, after: AuditChain.start)
        #expect(breaks(inserted) == ["entry 9223372036854775807 was put in: no trail is that long"])
    }

    /// As a database shows it, whose rows are sorted by their numbers.
    @Test func entriesThatChangedPlacesUnderTheirNumbersAreNamed() {
        var entries = chain(6)
        let (second, fifth) = (entries[1], entries[4])
        entries[1] = AuditEntry(sequence: 2, event: fifth.event, previousHash: fifth.previousHash, hash: fifth.hash)
        entries[4] = AuditEntry(sequence: 5, event: second.event, previousHash: second.previousHash, hash: second.hash)
        #expect(
            breaks(entries) == [
                "entry 2 was replaced by what was written as entry 5",
                "entry 5 was replaced by what was written as entry 2",
            ])
    }

    @Test func severalGapsAreToldOneByOne() {
        var entries = chain(12)
        entries.removeSubrange(7...8)
        entries.remove(at: 2)
        #expect(
            breaks(entries) == [
                "entry 3 is missing; the next one found is 4",
                "entry 8 is missing, and all up to 9; the next one found is 10",
            ])
    }

    @Test func whatCannotBeReadIsAChange() {
        let entries = chain(4)
        var checker = AuditChain.Checker()
        for entry in entries { checker.add(entry.sequence == 2 ? .damaged(sequence: 2) : .entry(entry)) }
        #expect(checker.breaks.map(\.sequence) == [2])
        #expect(checker.last == 4)
    }

    @Test func afterABreakItGoesOn() {
        var entries = chain(6)
        entries[1] = changed(entries[1], kind: "x")
        entries[4] = changed(entries[4], kind: "x")
        var checker = AuditChain.Checker()
        for entry in entries { checker.add(entry) }
        #expect(checker.broken?.sequence == 2)
        #expect(checker.breaks.map(\.sequence) == [2, 5])
        #expect(checker.count == 1)
        #expect(checker.head == entries[0].hash)
        #expect(checker.last == 6)
    }

    @Test func aChangedHashIsOneBreak() {
        var entries = chain(4)
        let old = entries[1]
        entries[1] = AuditEntry(
            sequence: 2, event: old.event, previousHash: old.previousHash, hash: String(repeating: "f", count: 64))
        #expect(breaks(entries) == ["entry 2 was changed after it was written"])
    }

    @Test func noMoreThanAFewBreaksAreTold() {
        let entries = chain(100).map { changed($0, kind: "x") }
        var checker = AuditChain.Checker()
        for entry in entries { checker.add(entry) }
        #expect(checker.breaks.count == AuditChain.Checker.mostBreaks)
        #expect(checker.last == 100)
    }

    /// Members are counted off, so that a boundary can't be moved between two of them.
    @Test func noTwoEventsShareADigest() {
        func digest(_ kind: String, _ actor: String, _ detail: [String: String] = [:]) -> String {
            AuditChain.digest(
                sequence: 1,
                event: AuditEvent(
                    at: Date(timeIntervalSince1970: 0), kind: kind, secret: nil, actor: actor, detail: detail),
                previousHash: AuditChain.start)
        }
        #expect(digest("ab", "c") != digest("a", "bc"))
        #expect(digest("a", "b", ["x": "y"]) != digest("a", "b", ["xy": ""]))
        #expect(digest("a", "b", ["x": "1", "y": "2"]) != digest("a", "b", ["x": "1y", "": "2"]))
        #expect(digest("a", "b1:c") != digest("a", "b", ["c": ""]))
    }
}
