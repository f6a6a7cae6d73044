import Foundation
import KeyturnPolicy
import Testing

/// Each folder below `Fixtures/policies/bad` holds policies with mistakes, and in `expected` all that is said about them.
@Suite("Bad policies")
struct BadPolicyTests {
    @Test(arguments: PolicyFixtures.cases("bad"))
    func areToldApart(name: String) throws {
        let found = try PolicyFixtures.load("bad/\(name)").diagnostics.map(\.description)
        let file = "\(PolicyFixtures.root)/bad/\(name)/expected"
        let expected = try String(contentsOfFile: file, encoding: .utf8)
            .split(separator: "\n").map { "bad/\(name)/\($0)" }
        #expect(!expected.isEmpty)
        #expect(found == expected)
    }

    @Test func allFixturesAreThere() {
        #expect(PolicyFixtures.cases("bad").count >= 17)
        #expect(PolicyFixtures.cases("good") == ["full", "minimal", "several-files"])
    }

    @Test func aFolderThatIsNotThereIsSaid() throws {
        let set = try PolicyFixtures.load("bad/nowhere")
        #expect(set.policies.isEmpty)
        #expect(set.diagnostics.map(\.description) == ["bad/nowhere:1:1: the schedules folder can't be read"])
    }

    @Test func aHugeFileIsNotRead() throws {
        let folder = try TemporaryFolder()
        try folder.write("# " + String(repeating: "x", count: 1 << 20), to: "huge.yaml")
        let set = try PolicyFixtures.load(folder.path)
        #expect(set.diagnostics.map(\.message) == ["the file is larger than 1048576 bytes"])
    }

    @Test func bytesThatAreNoTextAreRefused() throws {
        let folder = try TemporaryFolder()
        let file = try folder.write("", to: "latin.yaml")
        try Data([0x73, 0xE5, 0x0A]).write(to: URL(filePath: file))
        let set = try PolicyFixtures.load(folder.path)
        #expect(set.diagnostics.map(\.message) == ["the file is not UTF-8"])
        #expect(set.diagnostics.map(\.line) == [1])
    }

    /// Names in messages are cut off, and values are never repeated at all.
    @Test func messagesDoNotRepeatWhatCouldBeASecret() throws {
        let folder = try TemporaryFolder()
        let canary = "CANARY" + String(repeating: "Z", count: 80)
        try folder.write(
            """
            secret: \(canary)
            issuer: \(canary)
            lifetime: \(canary)
            rotate: {every: \(canary), timezone: \(canary), window: {from: \(canary), to: \(canary)}}
            grace: \(canary)
            backends: [{name: \(canary), template: "\(canary)", required: \(canary)}]
            verify: [{type: \(canary)}]
            retire: {observe: \(canary)}
            after: [\(canary)]
            alerts: [\(canary)]
            \(canary): 1
            """, to: "policy.yaml")
        let set = try PolicyFixtures.load(folder.path)
        #expect(set.diagnostics.count > 8)
        for diagnostic in set.diagnostics { #expect(!diagnostic.message.contains(canary), "\(diagnostic.message)") }
    }
}
