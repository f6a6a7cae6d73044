import Foundation
import KeyturnCore
import TestSupport
import Testing

@testable import KeyturnIssuers

@Suite("Roles of PostgreSQL and their keys")
struct RoleChoiceTests {
    private func material(_ format: String, user: String = "app_a", host: String = "db.example") -> KeyMaterial {
        LoginMaterial(
            scheme: "postgresql", user: user, password: SecretValue(utf8: #"p@ss/"wo\rd"#), host: host, port: 5433,
            path: "shop eu", more: ["database": "shop eu"]
        ).key(as: format)
    }

    @Test func aValueIsThePasswordOrNamesTheRoleToo() throws {
        #expect(material("password").value.exposedText() == #"p@ss/"wo\rd"#)
        let url = "postgresql://app_a:p%40ss%2F%22wo%5Crd@db.example:5433/shop%20eu"
        #expect(material("url").value.exposedText() == url)
        #expect(material("url", host: "::1").value.exposedText()?.contains("@[::1]:5433/") == true)
        #expect(material("url", host: "/run/pg").value.exposedText()?.contains("@%2Frun%2Fpg:5433/") == true)
        let text = try #require(material("json", user: "we\"ird").value.exposedText())
        #expect(
            try JSONDecoder().decode([String: String].self, from: Data(text.utf8))
                == ["user": "we\"ird", "password": #"p@ss/"wo\rd"#])
        #expect(material("password").fields["url"]?.exposedText() == url)
        #expect(Set(material("json").fields.keys) == Set(PostgreSQLRoleIssuer.description.fields + ["value"]))
    }

    @Test func theFormatFollowsFromTheNumberOfRoles() {
        let two = RoleChoice(["users": .list([.string("a"), .string("b")])])
        #expect(two.format == "json" && two.alternate && two.other(than: "a") == "b" && two.other(than: "b") == "a")
        // Whatever else was in use, the first one is free.
        #expect(two.other(than: "c") == "a")
        let one = RoleChoice(["user": .string("a")])
        #expect(one.format == "password" && !one.alternate)
    }

    @Test(arguments: [
        ("app_a/0123456789ab", "app_a"), ("a/b/0123456789ab", "a/b"), ("app_a", nil), ("app_a/0123456789AB", nil),
        ("db/key1", nil), ("0123456789ab", nil), ("", nil),
    ])
    func anIDTellsTheRole(id: String, user: String?) { #expect(RoleChoice.user(of: id) == user) }

    @Test func whatIsWrongIsFoundBeforehand() {
        let description = PostgreSQLRoleIssuer.description
        func problems(_ issue: Parameters, lifetime: Int64? = 86_400) -> [String] {
            description.check([:], issue, lifetime).map { "\($0.path.joined())\($0.isWarning ? "?" : "")" }
        }
        let two: ParameterValue = .list([.string("a"), .string("b")])
        #expect(problems(["users": two]) == [])
        #expect(problems([:]) == [""])
        #expect(problems(["users": two, "user": .string("c")]) == [""])
        #expect(problems(["user": .string("c")]) == ["user?"])
        #expect(problems(["users": .list([.string("a"), .string("a")])]) == ["users"])
        #expect(problems(["users": .list(["a", "b", "c"].map(ParameterValue.string))]) == ["users"])
        #expect(problems(["users": two, "length": .integer(8)]) == ["length?"])
        #expect(problems(["user": .string(String(repeating: "a", count: 64))]) == ["user?", "user"])
        #expect(problems(["users": two, "validUntil": .boolean(true)], lifetime: nil) == ["validUntil"])
        func configured(_ parameters: Parameters) -> [String] {
            description.configuration.check(parameters, [:]).map { $0.path.joined() }
        }
        #expect(configured(["host": .string("db.example")]) == [])
        #expect(configured(["host": .string("db.example"), "sslMode": .string("require")]) == ["sslMode"])
        #expect(configured(["host": .string("127.0.0.1"), "sslMode": .string("disable")]) == [])
        #expect(configured(["host": .string("/run/postgresql"), "keyFile": .string("/k")]) == [""])
        #expect(PostgreSQLServer.sslMode(["host": .string("db.example")]) == "verify-full")
    }
}
