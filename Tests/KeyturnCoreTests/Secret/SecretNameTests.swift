import Foundation
import KeyturnCore
import Testing

@Suite("Names of secrets")
struct SecretNameTests {
    @Test(arguments: [
        "a", "team/service-key", "0", "a.b", "a..b", "team/a_b-c.d", "x/y/z", "-", "_", "-/_", "a/1.age",
        String(repeating: "a", count: 200),
    ])
    func accepts(text: String) throws {
        let name = try SecretName(text)
        #expect(name.text == text)
        #expect(name.description == text)
        #expect(name.segments.joined(separator: "/") == text)
    }

    @Test(
        arguments: [
            ("", "it is empty"),
            ("/", "a segment between slashes is empty"), ("/a", "a segment between slashes is empty"),
            ("a/", "a segment between slashes is empty"), ("a//b", "a segment between slashes is empty"),
            (".", "a segment begins with a dot"), ("..", "a segment begins with a dot"),
            ("../a", "a segment begins with a dot"), ("a/../b", "a segment begins with a dot"),
            ("a/..", "a segment begins with a dot"), ("a/.hidden", "a segment begins with a dot"),
            ("A", "a segment may hold only lower-case letters, digits, '.', '_' and '-'"),
            ("a b", "a segment may hold only lower-case letters, digits, '.', '_' and '-'"),
            ("a\\b", "a segment may hold only lower-case letters, digits, '.', '_' and '-'"),
            ("a\u{0}b", "a segment may hold only lower-case letters, digits, '.', '_' and '-'"),
            ("a\n", "a segment may hold only lower-case letters, digits, '.', '_' and '-'"),
            ("ä", "a segment may hold only lower-case letters, digits, '.', '_' and '-'"),
            ("a%2fb", "a segment may hold only lower-case letters, digits, '.', '_' and '-'"),
            ("a:b", "a segment may hold only lower-case letters, digits, '.', '_' and '-'"),
            (String(repeating: "a", count: 201), "it is longer than 200 bytes"),
        ])
    func refuses(text: String, reason: String) throws {
        let error = try #require(throws: InvalidSecretName.self) { try SecretName(text) }
        #expect(error.reason == reason)
        #expect(error.text == text)
        #expect(error.description == "\"\(text)\" is not a secret's name: \(reason)")
    }

    @Test func isOrderedByItsText() throws {
        let names = try ["b", "a/b", "a", "a-b"].map { try SecretName($0) }
        #expect(names.sorted().map(\.text) == ["a", "a-b", "a/b", "b"])
    }

    @Test func isCodedAsItsTextAndCheckedAgain() throws {
        let data = try JSONEncoder().encode(["x": SecretName("team/key")])
        #expect(String(decoding: data, as: UTF8.self) == #"{"x":"team\/key"}"#)
        #expect(try JSONDecoder().decode([String: SecretName].self, from: data)["x"]?.text == "team/key")
        #expect(throws: InvalidSecretName.self) {
            try JSONDecoder().decode([SecretName].self, from: Data(#"["../x"]"#.utf8))
        }
    }
}
