import KeyturnCore
import Testing

@testable import KeyturnHTTP

@Suite("XML answers")
struct XMLElementTests {
    private func parse(_ text: String) -> XMLElement? { XMLElement.parse(SecretValue(utf8: text)) }

    @Test func elementsTextAndEntities() throws {
        let root = try #require(
            parse(
                """
                <?xml version="1.0" encoding="UTF-8"?>
                <CreateAccessKeyResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">
                  <Result><Key id="1"><Id>AK&amp;&lt;&gt;&quot;&apos;&#65;&#x42;</Id><Empty/><Also></Also></Key>
                  <Key><Id>second</Id></Key></Result>
                </CreateAccessKeyResponse>
                """))
        #expect(root.name == "CreateAccessKeyResponse")
        #expect(root.at("Result", "Key", "Id")?.text == "AK&<>\"'AB")
        #expect(root.at("Result", "Key", "Empty")?.text.isEmpty == true)
        #expect(root.at("Result", "Key", "Also")?.text.isEmpty == true)
        #expect(root.first("Result")?.children.map(\.name) == ["Key", "Key"])
        #expect(root.at("Result", "Nothing", "Id") == nil)
        #expect(root.first("Result")?.children.last?.first("Id")?.text == "second")
    }

    @Test(arguments: [
        "", "text", "<", "<>", "<a", "<a>", "</a>", "<a></b>", "<a><b></a></b>", "<a/><b/>", "<a></a></a>",
        "<a>&x;</a>",
        "<a>&lt</a>", "<a>&#xD800;</a>", "<a>&#99999999;</a>", "<a>&#;</a>", "<a>&#xZZ;</a>", "<a>&;</a>", "< a></a>",
        "<!DOCTYPE a [<!ENTITY x \"y\">]><a>&x;</a>", "<a><!-- c --></a>", "<a><![CDATA[x]]></a>", "<?xml",
        "<a><b/></a", "<a>\u{0}</b>",
    ])
    func anythingElseIsNoAnswer(text: String) {
        #expect(parse(text) == nil)
    }

    @Test func bytesThatAreNoTextAreNoAnswer() {
        #expect(XMLElement.parse(SecretValue([0x3C, 0x61, 0x2F, 0x3E, 0xFF])) == nil)
    }

    @Test func depthIsBounded() {
        func nested(_ depth: Int) -> String {
            String(repeating: "<a>", count: depth) + String(repeating: "</a>", count: depth)
        }
        #expect(parse(nested(31)) != nil)
        #expect(parse(nested(32)) == nil)
        #expect(parse(nested(100_000)) == nil)
    }

    @Test func randomTextsNeverTrap() {
        var generator = SystemRandomNumberGenerator()
        let pieces = [
            "<", ">", "/", "a", "</a>", "<a>", "&", ";", "&amp;", "?", "!", " ", "=", "\"", "\n", "&#", "x4", "é",
        ]
        for _ in 0..<3_000 {
            let text = (0..<Int.random(in: 0...20, using: &generator))
                .compactMap { _ in pieces.randomElement(using: &generator) }.joined()
            if let root = parse(text) { #expect(!root.name.isEmpty, "\(text)") }
        }
    }
}
