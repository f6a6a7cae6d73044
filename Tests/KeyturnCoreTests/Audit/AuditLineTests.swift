import Foundation
import KeyturnCore
import TestSupport
import Testing

@Suite("Lines of an exported audit trail")
struct AuditLineTests {
    private let hash = String(repeating: "a", count: 64)

    private func samples() throws -> [AuditLine] {
        let at = Date(timeIntervalSince1970: 1_800_000_000.123)
        let full = AuditEvent(
            at: at, kind: "step.failed", secret: try SecretName("team/key"), version: 3, step: "promote:vault",
            actor: "nobody \"quoted\" /\\\u{1}é🔑", detail: ["reason": "a\nb", "code": "local"])
        let bare = AuditEvent(at: at, kind: "alert.raised", secret: nil)
        let checkpoint = try #require(
            AuditCheckpoint(sequence: 7, head: hash, at: at, instance: "i", signedBy: AuditSigningKey()))
        return [
            .trail(AuditLine.Start(instance: "i", after: 6, hash: hash)),
            .entry(AuditEntry(sequence: 1, event: full, previousHash: AuditChain.start, hash: hash)),
            .entry(AuditEntry(sequence: 2, event: bare, previousHash: hash, hash: hash)), .checkpoint(checkpoint),
            .end(entries: 12),
        ]
    }

    @Test func everyLineIsReadBack() throws {
        for line in try samples() {
            #expect(!line.text.contains("\n"))
            #expect(AuditLine(line.text) == line, "\(line.text)")
        }
        if case .checkpoint(let checkpoint) = AuditLine(try samples()[3].text) {
            #expect(checkpoint.isAuthentic)
        } else {
            Issue.record("a checkpoint is none any more")
        }
    }

    /// Whatever is not covered by a hash has no room in a line.
    @Test func noLineHasASecondSpelling() throws {
        for line in try samples() {
            let text = line.text
            for other in [
                text + " ", " " + text, text.replacing(":", with: ": ", maxReplacements: 1),
                "{\"more\":1," + text.dropFirst(), text.replacing("\"type\"", with: "\"Type\""),
                text.replacing("\"entries\":12", with: "\"entries\":12.0"), text + text, String(text.dropLast()),
            ] where other != text {
                #expect(AuditLine(other) == nil, "\(other)")
            }
        }
        #expect(AuditLine("") == nil)
        #expect(AuditLine("{}") == nil)
        #expect(AuditLine(#"{"after":-1,"hash":"","instance":"","type":"trail"}"#) == nil)
        #expect(AuditLine(#"{"after":9223372036854775807,"hash":"","instance":"","type":"trail"}"#) == nil)
    }

    @Test(arguments: [
        (0.0, "1970-01-01T00:00:00.000Z"), (1_800_000_000.123, "2027-01-15T08:00:00.123Z"),
        (951_782_400.5, "2000-02-29T00:00:00.500Z"), (-0.001, "1969-12-31T23:59:59.999Z"),
        (253_402_300_799.0, "9999-12-31T23:59:59.000Z"), (-62_167_219_200.0, "0000-01-01T00:00:00.000Z"),
    ]) func timesHaveOneSpelling(seconds: Double, text: String) {
        #expect(AuditTime.text(Date(timeIntervalSince1970: seconds)) == text)
        #expect(AuditTime.date(text).map(AuditTime.milliseconds) == Int64((seconds * 1000).rounded()))
    }

    @Test(arguments: [
        "", "2027-01-15T08:00:00Z", "2027-02-30T08:00:00.123Z", "2027-01-15T24:00:00.000Z", "2027-13-15T08:00:00.123Z",
        "2027-01-15T08:00:00.123z", "2027-01-15 08:00:00.123Z", "+027-01-15T08:00:00.123Z", "2027-00-15T08:00:00.123Z",
        "2027-01-15T08:00:60.123Z", "２027-01-15T08:00:00.123",
    ]) func otherTimesAreRefused(text: String) {
        #expect(AuditTime.date(text) == nil)
    }

    @Test func everyMillisecondIsReadBack() {
        var generator = SeededGenerator(seed: 1)
        for _ in 0..<2000 {
            let milliseconds = Int64.random(in: -62_000_000_000_000...250_000_000_000_000, using: &generator)
            let date = Date(timeIntervalSince1970: Double(milliseconds) / 1000)
            #expect(AuditTime.date(AuditTime.text(date)).map(AuditTime.milliseconds) == milliseconds)
        }
    }
}

@Suite("The key of the audit trail")
struct AuditKeyTests {
    @Test func itsFileIsReadBack() throws {
        let key = AuditSigningKey()
        #expect(AuditSigningKey(pem: key.pem)?.publicKey == key.publicKey)
        #expect(AuditPublicKey("\(key.publicKey)") == key.publicKey)
    }

    /// RFC 8410, section 10.3, and RFC 8032, section 7.1, test 1.
    @Test func itIsTheFormOfTheStandards() throws {
        let pem = """
            -----BEGIN PRIVATE KEY-----
            MC4CAQAwBQYDK2VwBCIEIJ1hsZ3v/VpguoRK9JLsLMREScVpezJpGXA7rAMcrn9g
            -----END PRIVATE KEY-----

            """
        let key = try #require(AuditSigningKey(pem: SecretValue(utf8: pem)))
        #expect("\(key.publicKey)" == "ed25519:11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=")
        #expect(key.pem.matches(SecretValue(utf8: pem)))
    }

    @Test func itShowsNothingOfItself() throws {
        let key = AuditSigningKey()
        let pem = try #require(key.pem.exposedText())
        let body = try #require(pem.split(separator: "\n").dropFirst().first)
        var dumped = ""
        dump(key, to: &dumped)
        for text in ["\(key)", String(reflecting: key), dumped] { #expect(!text.contains(body)) }
        #expect(Mirror(reflecting: key).children.isEmpty)
    }

    @Test func anythingElseIsNone() throws {
        let good = try #require(AuditSigningKey().pem.exposedText())
        for text in [
            "", "x", good.replacing("PRIVATE", with: "PUBLIC"), String(good.dropFirst()),
            good.replacing("MC4CAQ", with: "MC4CAg"), good.replacing("-----END PRIVATE KEY-----\n", with: ""),
            "-----BEGIN PRIVATE KEY-----\n\n-----END PRIVATE KEY-----\n",
        ] { #expect(AuditSigningKey(pem: SecretValue(utf8: text)) == nil, "\(text.count)") }
        for text in ["", "ed25519:", "ed25519:AAAA", "11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="] {
            #expect(AuditPublicKey(text) == nil)
        }
    }
}
