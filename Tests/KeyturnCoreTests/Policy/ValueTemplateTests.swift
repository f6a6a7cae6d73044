import Foundation
import KeyturnCore
import Testing

@Suite("Templates")
struct ValueTemplateTests {
    private func render(_ template: String, _ value: String, _ fields: [String: String] = [:]) throws -> String {
        let material = KeyMaterial(
            value: SecretValue(utf8: value), fields: fields.mapValues { SecretValue(utf8: $0) })
        return try #require(try ValueTemplate(template).render(material).exposedText())
    }

    @Test(
        arguments: [
            ("{{value}}", "s3cret"), ("{{ value }}", "s3cret"), ("{{value|raw}}", "s3cret"),
            ("{{ value | base64 }}", "czNjcmV0"), ("{{value|json}}", "\"s3cret\""),
            ("key={{value}}\nuser={{user}}\n", "key=s3cret\nuser=me\n"),
            ("{\"k\": \"{{value}}\"}", "{\"k\": \"s3cret\"}"), ("[\"{{value}}\"]", "[\"s3cret\"]"),
            ("{{value}}{{value}}", "s3crets3cret"), ("no placeholder", "no placeholder"), ("", ""), ("}}", "}}"),
            ("{ {value} }", "{ {value} }"),
        ])
    func renders(template: String, expected: String) throws {
        #expect(try render(template, "s3cret", ["user": "me"]) == expected)
    }

    @Test(
        arguments: [
            ("{{", "a placeholder is opened by '{{' and never closed by '}}'"),
            ("{{value}", "a placeholder is opened by '{{' and never closed by '}}'"),
            ("{{}}", "a placeholder must name a field, such as {{value}}"),
            ("{{ }}", "a placeholder must name a field, such as {{value}}"),
            ("{{a b}}", "a placeholder must name a field, such as {{value}}"),
            ("{{a.b}}", "a placeholder must name a field, such as {{value}}"),
            ("{{{value}}}", "a placeholder must name a field, such as {{value}}"),
            ("{{|raw}}", "a placeholder must name a field, such as {{value}}"),
            ("{{value|upper}}", "{{value}} has an unknown filter; there are raw, base64, json and shell"),
            ("{{value|}}", "{{value}} has an unknown filter; there are raw, base64, json and shell"),
            ("{{value|jsonInside}}", "{{value}} has an unknown filter; there are raw, base64, json and shell"),
            ("{{value|raw|json}}", "{{value}} has more than one filter"),
        ])
    func refuses(template: String, reason: String) {
        #expect(throws: InvalidTemplate(reason: reason)) { try ValueTemplate(template) }
    }

    @Test func namesItsFields() throws {
        #expect(try ValueTemplate("{{a}} {{b|json}} {{a}} c").fields == ["a", "b"])
    }

    @Test func aMissingFieldIsNamed() {
        #expect(throws: InvalidTemplate(reason: "the key has no field 'user'")) { try render("{{user}}", "x") }
    }

    // MARK: Injection

    @Test func aValueThatLooksLikeATemplateIsOnlyAValue() throws {
        let tricky = "{{user}} {{value}} {{value|base64}} }} {{"
        #expect(try render("a={{value}} b={{user}}", tricky, ["user": "me"]) == "a=\(tricky) b=me")
    }

    @Test(arguments: [
        #"", "admin": true, "x": ""#, #"\"#, #"\u0022"#, "\n\r\t\u{0}\u{1}\u{1F}\u{7F}", #"</script>"#, "é✓🔑", "\"",
        "'",
        "{{value}}", "\u{2028}",
    ])
    func noValueChangesTheJSONAroundIt(value: String) throws {
        let fields = ["user": value]
        for template in [
            #"{"k": "{{value}}", "u": "{{user}}"}"#, #"{"k": {{value|json}}, "u": {{user|json}}}"#,
            #"  {"k": "{{ value }}", "u": {{ user | json }}}"#,
        ] {
            let text = try render(template, value, fields)
            let decoded = try JSONDecoder().decode([String: String].self, from: Data(text.utf8))
            #expect(decoded == ["k": value, "u": value], "\(template)")
        }
        let list = try render(#"["{{value}}"]"#, value)
        #expect(try JSONDecoder().decode([String].self, from: Data(list.utf8)) == [value])
    }

    @Test func everyByteOfAsciiSurvivesJSON() throws {
        let all = String(decoding: (0..<128).map(UInt8.init), as: UTF8.self)
        let text = try render(#"{"k":"{{value}}"}"#, all)
        #expect(try JSONDecoder().decode([String: String].self, from: Data(text.utf8)) == ["k": all])
    }

    @Test func bytesThatAreNoTextGoIntoJSONOnlyAsBase64() throws {
        let material = KeyMaterial(value: SecretValue([0xFF, 0xFE]))
        let reason = "field 'value' is not UTF-8 and can't go into JSON; use {{value|base64}}"
        #expect(throws: InvalidTemplate(reason: reason)) { try ValueTemplate(#"{"k":"{{value}}"}"#).render(material) }
        #expect(throws: InvalidTemplate(reason: reason)) { try ValueTemplate("{{value|json}}").render(material) }
        #expect(try ValueTemplate(#"{"k":"{{value|base64}}"}"#).render(material).exposedText() == #"{"k":"//4="}"#)
        #expect(try ValueTemplate("{{value}}").render(material).exposedBytes() == [0xFF, 0xFE])
    }

    @Test func aTemplateThatOpensWithAPlaceholderIsNotJSON() throws {
        #expect(try render("{{value}} x", "\"q\"") == "\"q\" x")
        #expect(try render("  {{value}}", "\"q\"") == "  \"q\"")
    }
}
