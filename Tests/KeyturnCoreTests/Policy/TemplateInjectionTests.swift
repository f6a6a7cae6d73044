import Foundation
import KeyturnCore
import TestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#endif

/// Whatever a value holds, the document around it stays the document that was written.
@Suite("Templates and what stands around a value")
struct TemplateInjectionTests {
    private func render(_ template: String, _ value: String) throws -> String {
        let material = KeyMaterial(value: SecretValue(utf8: value), fields: ["user": SecretValue(utf8: "me")])
        return try #require(try ValueTemplate(template).render(material).exposedText())
    }

    private func refusal(_ template: String, _ value: String) -> String? {
        do { _ = try render(template, value) } catch { return (error as? InvalidTemplate)?.reason ?? "\(error)" }
        return nil
    }

    // MARK: JSON

    @Test(arguments: [
        #"{"k": {{value}}}"#, #"{"k": "{{value|json}}"}"#, #"{"k": {{value}}, "n": "x"}"#, #"{"k": "{{value}}""#,
        #"{k: "{{value}}"}"#, #"{"k": {{value|base64}}}"#, #"{"k": {{value|shell}}}"#, #"{"k": "{{value|shell}}}"#,
        #"{ {{value}} }"#,
    ]) func whatBeginsLikeJSONAndIsNoneIsRefused(template: String) {
        let reason =
            "it begins like JSON and is none: write \"{{value}}\" with quotation marks around it, or {{value|json}}"
            + " without them"
        #expect(throws: InvalidTemplate(reason: reason)) { try ValueTemplate(template) }
    }

    @Test(arguments: [
        #"{"k": "{{value}}"}"#, #"{"k": {{value|json}}}"#, #"["{{value}}", 1, {"{{user}}": "{{value|base64}}"}]"#,
        #"{"a": {"b": ["x{{value}}y{{user}}"]}}"#,
    ]) func goodJSONIsAccepted(template: String) throws {
        let parsed = try ValueTemplate(template)
        #expect(parsed.isJSON && parsed.cautions.isEmpty)
    }

    @Test func aRawValueInJSONIsWarnedOf() throws {
        let template = try ValueTemplate(#"{"aws": {{value|raw}}, "s": "{{user|raw}}"}"#)
        #expect(template.cautions.count == 2)
        #expect(try render(#"{"aws": {{value|raw}}}"#, #"{"id":1}"#) == #"{"aws": {"id":1}}"#)
    }

    /// A file of sections begins with a bracket too.
    @Test func aFileOfSectionsIsNotJSON() throws {
        let template = try ValueTemplate("[client]\nuser=me\npassword={{value}}\n")
        #expect(!template.isJSON)
        #expect(try render(template.text, "a\"b") == "[client]\nuser=me\npassword=a\"b\n")
        #expect(refusal(template.text, "a\n[server]") != nil)
    }

    // MARK: Lines

    @Test(arguments: ["\n", "\r", "a\nADMIN=1", "\0", "\u{1B}[2J", "x\u{7F}"]) func noValueAddsALine(value: String) {
        for template in [
            "PASSWORD={{value}}\n", "A=1\nPASSWORD = {{value}}\nB=2", "export P='{{value}}'", "P=\"{{value}}\"",
            "password: {{value}}", "password: '{{value}}'", "db.password={{value}}", "  key-1: \"x {{value}}\"",
            "URL=postgres://me:{{value}}@host/db",
        ] {
            let reason = refusal(template, value)
            #expect(reason?.contains("which would change what stands around it") == true, "\(template)")
            // What is refused is not shown.
            if value.count > 1 { #expect(reason?.contains(value) == false) }
        }
    }

    @Test(arguments: [
        ("P='{{value}}'", "it's"), ("P=\"{{value}}\"", "a\"b"), ("P=\"{{value}}\"", "$(id)"),
        ("P=\"{{value}}\"", "`id`"),
        ("P=\"{{value}}\"", "\\"), ("export P={{value}}", "a b"), ("export P={{value}}", "$(id)"),
        ("export P={{value}}", "a;id"), ("export P={{value}}", "'"), ("p: {{value}}", "a: b"), ("p: {{value}}", "a #b"),
        ("p: {{value}}", "[a"), ("p: {{value}}", "*a"), ("p: {{value}}", "x:"), ("p: '{{value}}'", "''"),
        ("A='x' P='{{value}}'", "'"), ("A=\"\\\"\" P=\"{{value}}\"", "\""),
    ]) func noValueLeavesItsQuotationMarks(template: String, value: String) {
        #expect(refusal(template, value)?.contains("which would change what stands around it") == true)
    }

    @Test(arguments: [
        ("P={{value}}", "a\"b'c $d\\e #f;g", "P=a\"b'c $d\\e #f;g"), ("P='{{value}}'", "a\"b $d\\", "P='a\"b $d\\'"),
        ("P=\"{{value}}\"", "it's #1;", "P=\"it's #1;\""), ("export P={{value}}", "aZ0_./+=-", "export P=aZ0_./+=-"),
        ("p: {{value}}", "aZ0_./+=-", "p: aZ0_./+=-"), ("P={{value|raw}}", "a\nb", "P=a\nb"),
        ("{{value}}", "a\n\"b\"", "a\n\"b\""), ("-----\n{{value}}\n-----\n", "a\nb", "-----\na\nb\n-----\n"),
        ("user {{value}}\n", "a\nb", "user a\nb\n"), ("https://{{value}}", "a", "https://a"),
        ("P={{value|json}}", "a\n", "P=\"a\\n\""), ("P={{value|shell}}", "it's", "P='it'\\''s'"),
    ]) func theRestStaysAsItIs(template: String, value: String, expected: String) throws {
        #expect(try render(template, value) == expected)
    }

    /// The shell itself says what it reads.
    @Test func aShellReadsTheValueThatWasWritten() throws {
        var generator = SeededGenerator(seed: 5)
        let pieces = [
            "'", "\"", "\\", "$x", "`id`", "\n", " ", ";", "&", "é", "{{value}}", "#", "!", "*", "a", "\t", "$(id)",
        ]
        for _ in 0..<40 {
            let value = (0..<6).map { _ in pieces.randomElement(using: &generator) ?? "" }.joined() + "."
            let script = try render("export P={{value|shell}}\n", value) + "printf %s \"$P\""
            let said = try StockProgram.run(["/bin/sh", "-c", script])
            #expect(String(decoding: said, as: UTF8.self) == value, "\(script)")
        }
    }

    @Test func noShellTakesANul() {
        #expect(
            refusal("P={{value|shell}}", "a\0b")
                == "field 'value' holds a NUL, which no shell can; use {{value|base64}}")
    }
}
