import Foundation
import KeyturnCore
import KeyturnPolicy
import Testing

@Suite("Good policies")
struct GoodPolicyTests {
    @Test func theSmallestGetsItsDefaults() throws {
        let set = try PolicyFixtures.load("good/minimal")
        #expect(set.diagnostics.isEmpty)
        let policy = try #require(set.policies.first)
        #expect(set.policies.count == 1)
        #expect(policy.secret.text == "team/key")
        #expect(policy.rotation.timeZone.identifier == "UTC" || policy.rotation.timeZone == .gmt)
        #expect(policy.rotation.renewBefore?.description == "30d", "a third of the lifetime")
        #expect(policy.rotation.jitter == nil && policy.rotation.window == nil)
        #expect(policy.grace.description == "1d")
        #expect(policy.backends.map(\.target) == [BackendTarget(backend: "vault", path: "team/key")])
        #expect(policy.backends.map(\.required) == [true])
        #expect(policy.backends.map(\.overwrite) == [false])
        #expect(policy.checks.isEmpty && policy.after.isEmpty && policy.alerts.isEmpty)
        #expect(policy.retirement == RetirementRule())
        #expect(policy.origin.file == "good/minimal/policy.yaml" && policy.origin.line == 1)
    }

    @Test func everythingThatIsWrittenArrives() throws {
        let set = try PolicyFixtures.load("good/full")
        #expect(set.diagnostics.map(\.description) == [])
        #expect(set.policies.map(\.secret.text) == ["payments/admin", "payments/partner-cache"])
        let policy = try #require(set.policies.last)
        #expect(policy.description == "Partner key of the payments cache")
        #expect(policy.owner == "payments-oncall")
        #expect(policy.issuer == "partner")
        #expect(
            policy.issue == [
                "parameters": .map([
                    "permissions": .list([.map(["cache": .string("payments"), "role": .string("readwrite")])]),
                    "limits": .map([
                        "reads": .integer(100), "share": .decimal(0.5), "audit": .boolean(true), "note": .null,
                        "code": .string("007"),
                    ]),
                ])
            ])
        #expect(policy.lifetime?.description == "30d")
        #expect(policy.rotation.recurrence == .every(try PolicyDuration("20d")))
        #expect(policy.rotation.timeZone.identifier == "Europe/Oslo")
        #expect(policy.rotation.renewBefore?.description == "7d")
        #expect(policy.rotation.jitter?.description == "2h")
        #expect(policy.rotation.window?.description == "mon-thu 02:00-05:00")
        #expect(policy.rotation.window?.onConflict == .deadline)
        #expect(policy.grace.description == "2d")
        #expect(policy.backends.map(\.name) == ["vault", "bao", "files"])
        #expect(policy.backends.map(\.target.path) == ["payments/cache", "prod/payments/cache", "cache.env"])
        #expect(policy.backends.map(\.required) == [true, true, false])
        #expect(policy.backends.map(\.overwrite) == [false, false, true])
        #expect(policy.backends.map(\.template?.text) == [nil, #"{"apiKey": "{{value}}"}"#, "KEY={{value}}"])
        #expect(policy.backends[1].target.parameters == ["field": .string("apiKey")])
        #expect(policy.backends[2].target.parameters == ["mode": .string("0640")])
        #expect(policy.checks.map(\.type) == ["issuer", "command"])
        #expect(policy.checks[1].parameters.strings("run") == ["./check-cache", "--key-stdin"])
        #expect(policy.checks[1].parameters.seconds("timeout") == 10)
        #expect(policy.retirement.whenUnused?.description == "6h")
        #expect(policy.after.map(\.text) == ["payments/admin"])
        #expect(policy.alerts == ["ops"])
        #expect(policy.origin.line == 2)
        #expect(policy.origin.writtenAt["rotate.renewBefore"] == 14)
        #expect(policy.origin.writtenAt["retire.whenUnused"] == 25)
        #expect(policy.origin.writtenAt["rotate.cron"] == nil)
    }

    @Test func aKeyThatNeverExpiresHasNoRenewal() throws {
        let policy = try #require(try PolicyFixtures.load("good/full").policies.first)
        #expect(policy.lifetime == nil && policy.rotation.renewBefore == nil)
        #expect(policy.rotation.recurrence == .cron(try CronExpression("0 3 * * 1")))
        #expect(policy.grace.description == "1d")
    }

    @Test func filesAreFoundInEveryFolderButHiddenOnesAndBackups() throws {
        let set = try PolicyFixtures.load("good/several-files")
        #expect(set.diagnostics.isEmpty)
        #expect(set.policies.map(\.secret.text) == ["team/a", "team/b"])
        #expect(
            set.policies.map(\.origin.file) == ["good/several-files/a.yaml", "good/several-files/deep/er/b.yml"])
        #expect(set.policies.map(\.origin.line) == [1, 4])
    }

    // MARK: Digests

    private func policy(_ text: String) throws -> Policy {
        let folder = try TemporaryFolder()
        try folder.write(text, to: "policy.yaml")
        let set = try PolicyFixtures.load(folder.path)
        #expect(!set.diagnostics.contains { $0.severity == .error }, "\(set.diagnostics)")
        return try #require(set.policies.first)
    }

    private static let plain = """
        secret: team/key
        issuer: app-passwords
        issue: {length: 24, alphabet: hex}
        lifetime: 90d
        rotate: {every: 30d, renewBefore: 10d}
        grace: 1d
        backends: [{name: vault}]
        """

    @Test func whatLooksDifferentAndMeansTheSameHasTheSameDigests() throws {
        let first = try policy(Self.plain).origin
        let second = try policy(
            """
            # A comment.
            backends:
              - name: vault
                path: team/key
                required: true
            grace: 24h
            rotate:
              timezone: UTC
              renewBefore: 240h
              every: 4w2d
            lifetime: 12w6d
            issue:
              alphabet: "hex"
              length: 24
            description: New words.
            owner: somebody
            alerts: [ops]
            issuer: app-passwords
            secret: team/key
            """
        ).origin
        #expect(first.digest == second.digest)
        #expect(first.issueDigest == second.issueDigest)
        #expect(first.scheduleDigest == second.scheduleDigest)
    }

    struct Edit: Sendable, CustomTestStringConvertible {
        let old: String
        let new: String
        let issue: Bool
        let schedule: Bool
        var testDescription: String { "\(old) → \(new)" }
    }

    @Test(arguments: [
        Edit(old: "length: 24", new: "length: 25", issue: true, schedule: false),
        Edit(old: ", alphabet: hex", new: "", issue: true, schedule: false),
        Edit(old: "issuer: app-passwords", new: "issuer: other-passwords", issue: true, schedule: false),
        Edit(old: "lifetime: 90d", new: "lifetime: 91d", issue: true, schedule: true),
        Edit(old: "every: 30d", new: "every: 31d", issue: false, schedule: true),
        Edit(old: "every: 30d", new: "cron: \"@daily\"", issue: false, schedule: true),
        Edit(old: "renewBefore: 10d", new: "renewBefore: 11d", issue: false, schedule: true),
        Edit(old: "renewBefore: 10d", new: "renewBefore: 10d, jitter: 1h", issue: false, schedule: true),
        Edit(old: "renewBefore: 10d", new: "renewBefore: 10d, timezone: Europe/Oslo", issue: false, schedule: true),
        Edit(
            old: "renewBefore: 10d", new: "renewBefore: 10d, window: {from: \"01:00\", to: \"02:00\"}", issue: false,
            schedule: true),
        Edit(old: "grace: 1d", new: "grace: 2d", issue: false, schedule: false),
        Edit(old: "[{name: vault}]", new: "[{name: vault, path: other}]", issue: false, schedule: false),
        Edit(old: "[{name: vault}]", new: "[{name: vault, bestEffort: true}]", issue: false, schedule: false),
        Edit(old: "[{name: vault}]", new: "[{name: vault, overwrite: true}]", issue: false, schedule: false),
        Edit(
            old: "[{name: vault}]", new: "[{name: vault, template: \"k={{value}}\"}]", issue: false, schedule: false),
        Edit(old: "[{name: vault}]", new: "[{name: vault}, {name: files}]", issue: false, schedule: false),
        Edit(old: "grace: 1d", new: "grace: 1d\nverify: [{type: issuer}]", issue: false, schedule: false),
    ])
    func aDigestChangesWithWhatItStandsFor(edit: Edit) throws {
        let folder = try TemporaryFolder()
        let configuration = try String(contentsOfFile: "\(PolicyFixtures.root)/keyturn.yaml", encoding: .utf8)
            .replacing("issuers:\n", with: "issuers:\n  other-passwords: {type: random}\n")
        let file = try folder.write(configuration, to: "keyturn.yaml")
        func origin(_ text: String) throws -> PolicyOrigin {
            try folder.write(text, to: "schedules/policy.yaml")
            let loaded = ConfigurationLoader.load(file: file, environment: [:], catalog: PolicyFixtures.catalog)
            let set = PolicyLoader.load(try #require(loaded.0), catalog: PolicyFixtures.catalog)
            return try #require(set.policies.first, "\(set.diagnostics)").origin
        }
        let edited = Self.plain.replacing(edit.old, with: edit.new)
        #expect(edited != Self.plain)
        let (before, after) = (try origin(Self.plain), try origin(edited))
        #expect(before.digest != after.digest)
        #expect((before.issueDigest != after.issueDigest) == edit.issue)
        #expect((before.scheduleDigest != after.scheduleDigest) == edit.schedule)
    }
}
