import Foundation
import KeyturnCore
import Testing

@Suite("Key material")
struct KeyMaterialTests {
    @Test func theValueIsAlwaysAField() {
        let plain = KeyMaterial(value: SecretValue(utf8: "v"))
        #expect(plain.fields.keys.sorted() == ["value"])
        #expect(plain.fields["value"]?.exposedText() == "v")
        let clash = KeyMaterial(value: SecretValue(utf8: "v"), fields: ["value": SecretValue(utf8: "other")])
        #expect(clash.fields["value"]?.exposedText() == "v", "the value itself wins over a field of its name")
    }

    @Test func survivesSealing() throws {
        let material = KeyMaterial(
            value: SecretValue([0, 255, 10, 34]),
            fields: ["accessKeyId": SecretValue(utf8: "AK\"{{value}}"), "empty": SecretValue([])])
        let encoded = material.encoded()
        #expect(
            encoded.exposedText() == #"{"accessKeyId":"QUsie3t2YWx1ZX19","empty":"","value":"AP8KIg=="}"#)
        let decoded = try #require(KeyMaterial(decoding: encoded))
        #expect(decoded.matches(material))
        #expect(decoded.value.exposedBytes() == [0, 255, 10, 34])
    }

    @Test(arguments: ["", "null", "[]", "{}", #"{"other":"YQ=="}"#, #"{"value":1}"#, #"{"value":"*"}"#, "\u{FF}"])
    func refusesOtherBytes(text: String) {
        #expect(KeyMaterial(decoding: SecretValue(utf8: text)) == nil)
    }

    @Test func matchesFieldByField() {
        func material(_ value: String, _ fields: [String: String] = [:]) -> KeyMaterial {
            KeyMaterial(value: SecretValue(utf8: value), fields: fields.mapValues { SecretValue(utf8: $0) })
        }
        #expect(material("a", ["x": "1"]).matches(material("a", ["x": "1"])))
        #expect(!material("a").matches(material("b")))
        #expect(!material("a", ["x": "1"]).matches(material("a")))
        #expect(!material("a").matches(material("a", ["x": "1"])))
        #expect(!material("a", ["x": "1"]).matches(material("a", ["x": "2"])))
        #expect(!material("a", ["x": "1"]).matches(material("a", ["y": "1"])))
    }
}
