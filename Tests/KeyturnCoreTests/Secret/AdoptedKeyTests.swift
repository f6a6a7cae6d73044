import Foundation
import KeyturnCore
import Testing

@Suite("Keys that are taken over")
struct AdoptedKeyTests {
    private let now = Date(timeIntervalSince1970: 1_800_000_000)

    private func parse(_ text: String) throws -> IssuedKey { try AdoptedKey.parse(SecretValue(utf8: text), now: now) }

    private func refusal(_ text: String) -> String? {
        do { _ = try parse(text) } catch { return (error as? InvalidAdoptedKey)?.reason }
        return nil
    }

    @Test func consolesFormsAreRead() throws {
        for (text, value) in [
            ("s3cret\n", "s3cret"), (#"{"apiKey": "k"}"#, "k"), (#" {"authToken": "t"} "#, "t"),
            (#"{"value": "v"}"#, "v"),
        ] { #expect(try parse(text).material.value.exposedText() == value) }
        for end in ["1900000000", "\"1900000000\"", "\"2030-03-17T17:46:40Z\""] {
            #expect(
                try parse("{\"apiKey\": \"k\", \"validUntil\": \(end)}").expiresAt
                    == Date(timeIntervalSince1970: 1_900_000_000))
        }
    }

    /// Whoever wrote the file chose both parts: they are texts, and nothing else.
    @Test func thePartsOfAnAccessKeyCannotChangeItsJSON() throws {
        for id in [#"A","admin":"1"#, "\\", "\"", "\n\u{1}", "é🔑", "A"] {
            let file = try JSONEncoder().encode(["accessKeyId": id, "secretAccessKey": "s" + id])
            let key = try parse(String(decoding: file, as: UTF8.self))
            let value = try #require(key.material.value.exposedText())
            let read = try JSONDecoder().decode([String: String].self, from: Data(value.utf8))
            #expect(read == ["accessKeyId": id, "secretAccessKey": "s" + id])
            #expect(key.material.fields["accessKeyId"]?.exposedText() == id)
        }
    }

    @Test(arguments: [
        "", " \n", "{", "{}", #"{"apiKey": 7}"#, #"{"apiKey": ""}"#, #"{"apiKey": ["CANARY"]}"#,
        #"{"accessKeyId": "CANARY"}"#, #"{"accessKeyId": "", "secretAccessKey": "CANARY"}"#,
        #"{"apiKey": "CANARY", "validUntil": "CANARY"}"#, #"{"apiKey": "CANARY", "validUntil": 1e300}"#,
        #"{"apiKey": "CANARY", "validUntil": "nan"}"#, #"{"apiKey": "CANARY", "validUntil": "inf"}"#,
        #"{"apiKey": "CANARY", "validUntil": 1}"#,
    ]) func theRestIsRefusedWithoutAWordOfIt(text: String) throws {
        let reason = try #require(refusal(text))
        #expect(!reason.contains("CANARY"))
    }
}
