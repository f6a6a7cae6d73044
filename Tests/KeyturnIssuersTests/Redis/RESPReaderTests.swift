import Foundation
import KeyturnCore
import KeyturnHTTP
import TestSupport
import Testing

@testable import KeyturnIssuers

@Suite("What Redis answers")
struct RESPReaderTests {
    private static let values: [(String, RESPValue)] = [
        ("+OK\r\n", .simple("OK")), ("-WRONGPASS no\r\n", .error("WRONGPASS no")), (":-42\r\n", .integer(-42)),
        ("$5\r\na\r\nbc\r\n", .bulk(Array("a\r\nbc".utf8))), ("$0\r\n\r\n", .bulk([])), ("$-1\r\n", .null),
        ("*-1\r\n", .null), ("*0\r\n", .array([])),
        ("*2\r\n$1\r\na\r\n*1\r\n:1\r\n", .array([.bulk([0x61]), .array([.integer(1)])])),
    ]

    @Test(arguments: values)
    func isReadInPiecesOfAnySize(text: String, value: RESPValue) throws {
        for size in 1...text.utf8.count {
            var reader = RESPReader()
            var found: [RESPValue] = []
            var rest = Array((text + text).utf8)[...]
            while !rest.isEmpty {
                try reader.append(rest.prefix(size))
                rest = rest.dropFirst(size)
                while let next = try reader.next() { found.append(next) }
            }
            #expect(found == [value, value])
        }
    }

    @Test(arguments: [
        "OK\r\n", "\r\n", "+OK\n", ":x\r\n", ":\r\n", "$2\r\nabc\r\n", "$9999999\r\n", "*9999999\r\n",
        String(repeating: "*1\r\n", count: 12), "$99999999999999999999\r\n", "HTTP/1.1 400 Bad Request\r\n",
    ])
    func otherThingsAreRefused(text: String) throws {
        var reader = RESPReader()
        try reader.append(Array(text.utf8))
        #expect(throws: RESPReader.Malformed.self) { while try reader.next() != nil {} }
    }

    @Test func noAnswerGrowsWithoutAnEnd() throws {
        var reader = RESPReader()
        try reader.append(Array(repeating: 0x61, count: RESPReader.maximumBytes))
        #expect(throws: RESPReader.Malformed.self) { try reader.append([0x61]) }
    }

    @Test func aCommandIsWordsOfAnyBytes() throws {
        let bytes = RESPValue.command([Array("AUTH".utf8), Array("a\r\n$1".utf8), [0, 255]])
        var reader = RESPReader()
        try reader.append(bytes)
        #expect(
            try reader.next() == .array([.bulk(Array("AUTH".utf8)), .bulk(Array("a\r\n$1".utf8)), .bulk([0, 255])]))
    }

    @Test func ofAnErrorNothingButItsCodeIsKept() {
        #expect(RedisError.code(of: "WRONGPASS invalid CANARY") == "WRONGPASS")
        #expect(RedisError.code(of: "hunter2 is wrong") == "ERR" && RedisError.code(of: "") == "")
    }
}

@Suite("Users of Redis")
struct RedisUserTests {
    @Test func areReadFromTheirList() throws {
        func text(_ text: String) -> RESPValue { .bulk(Array(text.utf8)) }
        let answer = RESPValue.array([
            text("flags"), .array([text("on")]), text("passwords"), .array([text("ab"), text("cd")]), text("commands"),
            text("-@all"),
        ])
        let user = try #require(RedisUser(answer))
        #expect(user.flags == ["on"] && user.passwords == ["ab", "cd"])
        for bad in [RESPValue.simple("OK"), .array([text("flags")]), .array([text("flags"), .array([])])] {
            #expect(RedisUser(bad) == nil)
        }
        // SHA-256 of `hunter2`, as sha256sum says it.
        #expect(
            RedisUser.hash(SecretValue(utf8: "hunter2"))
                == "f52fbd32b2b3b86ff88ef6c490628285f482af15ddcb29541f94bcf526a3f6c7")
    }

    @Test(arguments: [
        ("redis://127.0.0.1:6380", StreamAddress(host: "127.0.0.1", port: 6380, isSecure: false)),
        ("rediss://cache.example", StreamAddress(host: "cache.example", port: 6379, isSecure: true)),
        ("redis://[::1]:1", StreamAddress(host: "::1", port: 1, isSecure: false)),
        ("redis://[::1]", StreamAddress(host: "::1", port: 6379, isSecure: false)),
        ("unix:/run/redis.sock", StreamAddress(host: "/run/redis.sock", port: 0, isSecure: false)),
        ("unix:run", nil), ("redis://", nil), ("redis://a:b", nil), ("redis://a:0", nil), ("redis://u:p@a:1", nil),
        ("redis://a/0", nil), ("http://a", nil), ("redis://::1:1", nil), ("redis://a b", nil),
    ])
    func serversAreNamed(text: String, address: StreamAddress?) { #expect(RedisServers.address(text) == address) }

    @Test func whatIsWrongIsFoundBeforehand() {
        func problems(_ addresses: [String], _ more: Parameters = [:]) -> [String] {
            RedisACLIssuer.description.configuration.check(
                more.merging(["addresses": .list(addresses.map(ParameterValue.string))]) { $1 }, [:]
            ).map { "\($0.path.joined(separator: "."))\($0.isWarning ? "?" : "")" }
        }
        #expect(problems(["redis://127.0.0.1", "rediss://a"]) == [])
        #expect(problems(["rediss://a", "redis://a"]) == ["addresses.1"])
        #expect(problems(["redis://a"], ["allowInsecure": .boolean(true)]) == [])
        #expect(problems(["http://a"]) == ["addresses.0"])
        #expect(problems(["rediss://a"], ["save": .string("never"), "keyFile": .string("/k")]) == ["save?", ""])
    }
}
