import Foundation
import KeyturnCore
import Testing

@testable import KeyturnPolicy

@Suite("keyturn.yaml")
struct ConfigurationTests {
    private func load(
        _ text: String, _ environment: [String: String] = [:]
    ) throws -> (configuration: Configuration?, messages: [String], folder: String) {
        let folder = try TemporaryFolder()
        let file = try folder.write(text, to: "keyturn.yaml")
        let (configuration, diagnostics) = ConfigurationLoader.load(
            file: file, environment: environment, catalog: PolicyFixtures.catalog)
        return (configuration, diagnostics.map(\.description), folder.path)
    }

    private static let identity = "identity: {file: id.txt}\n"
    private static let recipient = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"

    private static func named(_ types: [String]) -> String { types.sorted().joined(separator: ", ") }

    // MARK: Paths and defaults

    @Test func pathsAreTakenFromItsFolder() throws {
        let (loaded, messages, folder) = try load(
            """
            state: sqlite:data/state.db
            schedules: policies
            identity: {file: /etc/keyturn/id.txt}
            issuers: {partner: {type: command, run: [./partner, arg]}}
            backends: {vault: {type: file-vault, directory: vault, recipients: [\(Self.recipient)]}}
            """)
        #expect(messages == [])
        let configuration = try #require(loaded)
        #expect(configuration.folder == folder)
        #expect(configuration.statePath == "\(folder)/data/state.db")
        #expect(configuration.schedulesPath == "\(folder)/policies")
        #expect(configuration.identityPath == "/etc/keyturn/id.txt")
        #expect(configuration.backends["vault"]?.parameters.string("directory") == "\(folder)/vault")
        #expect(configuration.issuers["partner"]?.parameters.strings("run") == ["./partner", "arg"])
        #expect(configuration.issuers["partner"]?.type == "command")
        #expect(configuration.issuers["partner"]?.name == "partner")
    }

    @Test func whatIsAbsentHasItsDefault() throws {
        let (loaded, messages, folder) = try load(
            Self.identity + "issuers: {partner: {type: command, run: [./partner]}}\n")
        #expect(messages == [])
        let configuration = try #require(loaded)
        #expect(configuration.statePath == "\(folder)/var/keyturn.db")
        #expect(configuration.schedulesPath == "\(folder)/schedules")
        #expect(configuration.limits == Configuration.Limits(concurrency: 64, perIssuer: 8, perBackend: 32))
        #expect(configuration.listen == nil)
        #expect(configuration.driftInterval == nil)
        #expect(configuration.backends.isEmpty && configuration.alerts.isEmpty)
        let partner = try #require(configuration.issuers["partner"])
        #expect(partner.parameters.seconds("timeout") == 30)
        #expect(partner.parameters.string("kind") == "listable")
    }

    @Test func driftIsLookedForAsOftenAsItSays() throws {
        #expect(try load(Self.identity + "drift: {every: 1d}\n").configuration?.driftInterval == 86_400)
        for (text, complaint) in [
            ("{every: 59s}", "'every' of 'drift' must be 1m at least"), ("{}", "'drift' lacks 'every', such as 1d"),
        ] {
            let loaded = try load(Self.identity + "drift: \(text)\n")
            #expect(loaded.configuration == nil)
            #expect(loaded.messages.map { $0.hasSuffix(complaint) } == [true])
        }
    }

    // MARK: The environment goes before the file

    @Test func everyOverrideWins() throws {
        let (loaded, messages, folder) = try load(
            """
            state: sqlite:file.db
            schedules: from-file
            identity: {file: from-file.txt}
            limits: {concurrency: 1, perIssuer: 2, perBackend: 3, maxRotationsPerHour: 4, stopAfterFailures: 5}
            listen: 127.0.0.1:1
            """,
            [
                "KEYTURN_STATE": "sqlite:env.db", "KEYTURN_SCHEDULES": "from-env",
                "KEYTURN_IDENTITY_FILE": "from-env.txt", "KEYTURN_LISTEN": "127.0.0.1:2",
                "KEYTURN_LIMITS_CONCURRENCY": "10", "KEYTURN_LIMITS_PERISSUER": "20", "KEYTURN_LIMITS_PERBACKEND": "30",
                "KEYTURN_LIMITS_MAXROTATIONSPERHOUR": "40",
            ])
        #expect(messages == [])
        let configuration = try #require(loaded)
        #expect(configuration.statePath == "\(folder)/env.db")
        #expect(configuration.schedulesPath == "\(folder)/from-env")
        #expect(configuration.identityPath == "\(folder)/from-env.txt")
        #expect(configuration.listen == "127.0.0.1:2")
        #expect(
            configuration.limits
                == Configuration.Limits(
                    concurrency: 10, perIssuer: 20, perBackend: 30, maxRotationsPerHour: 40, stopAfterFailures: 5))
    }

    @Test func anIdentityMayComeFromTheEnvironmentAlone() throws {
        let (loaded, messages, folder) = try load("state: sqlite:a.db\n", ["KEYTURN_IDENTITY_FILE": "/run/id.txt"])
        #expect(messages == [])
        #expect(loaded?.identityPath == "/run/id.txt")
        #expect(loaded?.statePath == "\(folder)/a.db")
    }

    @Test(arguments: ["0", "1025", "many", "-1", ""])
    func badOverridesAreRefused(text: String) throws {
        let (loaded, messages, _) = try load(Self.identity, ["KEYTURN_LIMITS_PERISSUER": text])
        #expect(loaded == nil)
        #expect(messages == ["keyturn.yaml:1:1: KEYTURN_LIMITS_PERISSUER must lie between 1 and 1024"])
    }

    // MARK: Mistakes

    @Test(
        arguments: [
            ("", ["1:1: the configuration is empty"]),
            ("- a\n", ["1:1: the configuration must be a map of names to values"]),
            ("state: sqlite:a.db\n", ["1:1: the configuration lacks 'identity': {file: PATH} of an age identity"]),
            ("identity: {}\n", ["1:11: 'identity' lacks 'file'"]),
            (
                "identity: {fiel: a}\n",
                ["1:11: 'identity' lacks 'file'", "1:12: unknown field 'fiel' in 'identity'; did you mean 'file'?"]
            ),
            ("identity: id.txt\n", ["1:11: 'identity' must be a map of names to values"]),
            (
                identity + "shedules: x\n",
                ["2:1: unknown field 'shedules' in the configuration; did you mean 'schedules'?"]
            ),
            (identity + "state: keyturn.db\n", ["2:8: 'state' must be sqlite:PATH"]),
            (identity + "state: \"sqlite:\"\n", ["2:8: 'state' must be sqlite:PATH"]),
            (
                identity + "state: postgresql://db/keyturn\n",
                ["2:8: PostgreSQL as state is not available in this version; use sqlite:PATH"]
            ),
            (
                identity + "issuers: {a: {length: 3}}\n",
                ["2:14: issuers 'a' lacks 'type': one of \(named(PolicyFixtures.catalog.issuers.map(\.type)))"]
            ),
            (
                identity + "issuers: {a: {type: randm}}\n",
                ["2:21: unknown type 'randm' in issuers; did you mean 'random'?"]
            ),
            (
                identity + "backends: {a: {type: random}}\n",
                [
                    "2:22: unknown type 'random' in backends; there are \(named(PolicyFixtures.catalog.backends.map(\.type)))"
                ]
            ),
            (
                identity + "issuers: {a: {type: random, lenght: 3}}\n",
                ["2:29: unknown field 'lenght' in issuers 'a'; did you mean 'length'?"]
            ),
            (
                identity + "backends: {a: {type: file}}\n",
                ["2:15: backends 'a' lacks 'directory': The folder below which the files lie."]
            ),
            (
                identity + "backends: {a: {type: vault-kv2, address: \"https://u:p@h\"}}\n",
                [
                    "2:15: backends 'a' lacks 'auth': How to log in: token, appRole, kubernetes or jwt.",
                    "2:42: 'address' of backends 'a' must be http:// or https:// with a host, without a user name",
                ]
            ),
            (
                identity + "limits: {concurrency: 0, perIssuer: many, perbackend: 3}\n",
                [
                    "2:23: 'concurrency' of 'limits' must lie between 1 and 1024",
                    "2:37: 'perIssuer' of 'limits' must be a whole number",
                    "2:43: unknown field 'perbackend' in 'limits'; did you mean 'perBackend'?",
                ]
            ),
            (identity + "---\nstate: sqlite:a.db\n", ["3:1: a configuration file holds one document"]),
            (identity + "identity: {file: b}\n", ["1:1: written more than once: identity"]),
        ])
    func mistakesAreLocated(text: String, expected: [String]) throws {
        let (loaded, messages, _) = try load(text)
        #expect(loaded == nil)
        #expect(messages == expected.map { "keyturn.yaml:\($0)" })
    }

    @Test func aFileThatIsNotThereIsSaid() throws {
        let folder = try TemporaryFolder()
        let (configuration, diagnostics) = ConfigurationLoader.load(
            file: "\(folder.path)/keyturn.yaml", environment: [:], catalog: PolicyFixtures.catalog)
        #expect(configuration == nil)
        #expect(
            diagnostics.map(\.description) == [
                "keyturn.yaml:1:1: the configuration file can't be read: No such file or directory; `keyturn init` writes a first one"
            ])
    }

    @Test func errorsOfPoliciesAreFoundBesideThoseOfTheConfiguration() throws {
        let folder = try TemporaryFolder()
        let file = try folder.write(
            """
            identity: {file: id}
            issuers:
              first: {type: nonsense}
            backends: [vault]
            """, to: "keyturn.yaml")
        try folder.write(
            """
            secret: team/key
            issuer: first
            lifetime: 30d
            rotate: {evry: 7d}
            backends: [{name: vault}]
            """, to: "schedules/key.yaml")
        let (configuration, found) = ConfigurationLoader.read(
            file: file, environment: [:], catalog: PolicyFixtures.catalog)
        let set = PolicyLoader.load(try #require(configuration), catalog: PolicyFixtures.catalog)
        #expect(found.map(\.line) == [3, 4])
        // Nothing is said of the issuer and the backend, whose own entries are wrong.
        #expect(set.diagnostics.map(\.line) == [4, 4])
        #expect(set.diagnostics.allSatisfy { $0.file == "schedules/key.yaml" })
    }

    // MARK: Checks of schemas

    /// A schema whose checks tell what they were given, and where in it.
    private static func catalog(_ problems: [ParameterProblem]) -> SystemCatalog {
        let inner = ParameterSchema([ParameterField("word", .string(), "A word.")]) { parameters, environment in
            [ParameterProblem(path: ["word"], message: "inner \(parameters.count) \(environment["PLACE"] ?? "-")")]
        }
        let schema = ParameterSchema([
            ParameterField("inner", .object(inner), "More."),
            ParameterField("words", .list(of: .string()), "Words."),
            ParameterField("size", .integer(1...3), default: .integer(2), "A size."),
            ParameterField("url", .either([.url, .secret]), "An address."),
            ParameterField("allowInsecure", .boolean, "Plain http."),
        ]) { parameters, _ in
            problems + [ParameterProblem(path: [], message: "size \(parameters.integer("size") ?? 0)")]
        }
        return SystemCatalog(
            issuers: [], backends: [],
            alerts: [AlertDescription(type: "test", summary: "A test.", configuration: schema)], checks: [])
    }

    private func messages(_ system: String, _ problems: [ParameterProblem] = []) throws -> [String] {
        let folder = try TemporaryFolder()
        let file = try folder.write(Self.identity + "alerts: {a: {type: test\(system)}}\n", to: "keyturn.yaml")
        return ConfigurationLoader.load(
            file: file, environment: ["PLACE": "here"], catalog: Self.catalog(problems)
        ).1.map { "\($0.line):\($0.column) \($0.severity) \($0.message)" }
    }

    @Test func checksSeeDefaultsAndTheEnvironment() throws {
        #expect(try messages("") == ["2:13 error alerts 'a': size 2"])
        // A complaint of an inner one is one mistake, not two.
        #expect(try messages(", inner: {word: x}") == ["2:40 error 'inner' of alerts 'a': inner 1 here"])
    }

    @Test func problemsAreLocatedAsFarAsTheirPathLeads() throws {
        let problems = [
            ParameterProblem(path: ["words", "1"], message: "second", isWarning: true),
            ParameterProblem(path: ["words", "7"], message: "eighth"),
            ParameterProblem(path: ["size"], message: "absent"),
        ]
        #expect(
            try messages(", words: [x, y]", problems) == [
                "2:13 error alerts 'a': absent", "2:13 error alerts 'a': size 2", "2:33 error alerts 'a': eighth",
                "2:37 warning alerts 'a': second",
            ])
    }

    @Test func whatIsWrongInItselfIsNotCheckedFurther() throws {
        #expect(try messages(", size: 9") == ["2:32 error 'size' of alerts 'a' must lie between 1 and 3"])
        #expect(
            try messages(", siz: 2") == ["2:26 error unknown field 'siz' in alerts 'a'; did you mean 'size'?"])
    }

    @Test(
        arguments: [
            ("http://h", "", true), ("HTTP://h:80/x", "", true), ("http://127.0.0.1.h", "", true),
            ("http://h", ", allowInsecure: false", true), ("http://h", ", allowInsecure: true", false),
            ("https://h", "", false), ("http://localhost", "", false), ("http://LOCALHOST:1/", "", false),
            ("http://127.9.9.9", "", false), ("http://[::1]:8200", "", false),
        ])
    func plainAddresses(url: String, more: String, isRefused: Bool) throws {
        let refusal =
            "2:31 error 'url' of alerts 'a' is plain http to another machine; use https://, or set 'allowInsecure: true' where the network is trusted"
        #expect(
            try messages(", url: \"\(url)\"\(more)") == [isRefused ? refusal : "2:13 error alerts 'a': size 2"])
    }

    @Test func aReferenceToAnAddressIsNotLookedInto() throws {
        #expect(try messages(", url: {env: URL}") == ["2:13 error alerts 'a': size 2"])
        #expect(
            try messages(", url: http://h, allowInsecure: perhaps") == [
                "2:56 error 'allowInsecure' of alerts 'a' must be true or false"
            ])
    }

    // MARK: References to secrets

    @Test func theFourReferences() throws {
        let (loaded, messages, folder) = try load(
            Self.identity + """
                alerts:
                  a: {type: webhook, url: https://h/, signingKey: {env: KEY}}
                  b: {type: webhook, url: https://h/, signingKey: {file: run/key}}
                  c: {type: webhook, url: https://h/, signingKey: {command: [./get, key]}}
                  d: {type: webhook, url: {vault: team/url}, signingKey: {vault: team/key}}
                """)
        #expect(messages == [])
        let alerts = try #require(loaded?.alerts)
        #expect(alerts["a"]?.parameters.secret("signingKey") == .environment("KEY"))
        #expect(alerts["b"]?.parameters.secret("signingKey") == .file("\(folder)/run/key"))
        #expect(alerts["c"]?.parameters.secret("signingKey") == .command(["./get", "key"]))
        #expect(alerts["d"]?.parameters.secret("signingKey") == .vault(try SecretName("team/key")))
        #expect(alerts["d"]?.parameters.secret("url") == .vault(try SecretName("team/url")))
        #expect(alerts["a"]?.parameters.string("url") == "https://h/")
    }

    private static let forms = "{env: NAME}, {file: PATH}, {command: [PROGRAM, ...]} or {vault: SECRET}"

    @Test(
        arguments: [
            ("CANARY", "must be a reference, never the secret itself: \(forms)"),
            ("\"CANARY\"", "must be a reference, never the secret itself: \(forms)"),
            ("[CANARY]", "must be a reference, never the secret itself: \(forms)"),
            ("4711", "must be a reference, never the secret itself: \(forms)"),
            ("{}", "must be one reference: \(forms)"),
            ("{value: CANARY}", "must be one reference: \(forms)"),
            ("{env: A, file: b}", "must be one reference: \(forms)"),
        ])
    func literalsAreRefusedAndNotRepeated(text: String, message: String) throws {
        let (loaded, messages, _) = try load(
            Self.identity + "alerts: {a: {type: webhook, url: https://h/, signingKey: \(text)}}\n")
        #expect(loaded == nil)
        #expect(messages == ["keyturn.yaml:2:58: 'signingKey' of alerts 'a' \(message)"])
        #expect(!messages.joined().contains("CANARY"))
    }

    @Test(
        arguments: [
            (
                "{env: hvs.CANARY}",
                "64: 'env' of 'signingKey' of alerts 'a' is not the name of a variable, such as API_KEY"
            ),
            ("{env: 4711}", "64: 'env' of 'signingKey' of alerts 'a' is not the name of a variable, such as API_KEY"),
            ("{env: }", "64: 'env' of 'signingKey' of alerts 'a' must be a text"),
            ("{file: \"\"}", "65: 'file' of 'signingKey' of alerts 'a' is empty"),
            ("{command: []}", "68: 'command' of 'signingKey' of alerts 'a' must name a program"),
            ("{command: ./x}", "68: 'command' of 'signingKey' of alerts 'a' must be a list"),
            ("{vault: ../x}", "66: 'vault' of 'signingKey' of alerts 'a' is not a secret's name"),
        ])
    func malformedReferencesAreLocated(text: String, expected: String) throws {
        let (loaded, messages, _) = try load(
            Self.identity + "alerts: {a: {type: webhook, url: https://h/, signingKey: \(text)}}\n")
        #expect(loaded == nil)
        #expect(messages == ["keyturn.yaml:2:\(expected)"])
    }

    @Test func aVaultReferenceMustLeadToAPolicy() throws {
        let folder = try TemporaryFolder()
        let file = try folder.write(
            Self.identity + """
                issuers: {passwords: {type: random}}
                backends:
                  vault: {type: file-vault, directory: v, recipients: [\(Self.recipient)]}
                  bao: {type: vault-kv2, address: "https://h", auth: {token: {vault: team/nowhere}}}
                """, to: "keyturn.yaml")
        try folder.write(
            "secret: team/key\nissuer: passwords\nlifetime: 90d\nrotate: {every: 30d}\nbackends: [{name: vault}]\n",
            to: "schedules/a.yaml")
        let (configuration, _) = ConfigurationLoader.load(
            file: file, environment: [:], catalog: PolicyFixtures.catalog)
        let set = PolicyLoader.load(try #require(configuration), catalog: PolicyFixtures.catalog)
        #expect(
            set.diagnostics.map(\.description) == [
                "keyturn.yaml:1:1: 'bao' refers to {vault: team/nowhere}, which has no policy"
            ])
    }
}
