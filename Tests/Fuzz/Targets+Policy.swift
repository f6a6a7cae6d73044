import Foundation
import KeyturnAlerts
import KeyturnBackends
import KeyturnCore
import KeyturnIssuers
import KeyturnPolicy
import TestSupport

extension Targets {
    private static let catalog = SystemCatalog(
        issuers: IssuerRegistry.descriptions, backends: BackendRegistry.descriptions,
        alerts: AlertRegistry.descriptions, checks: CheckRegistry.descriptions)

    private static let words = [
        "[", "]", "{", "}", "- ", "? ", ": ", "&a ", "*a", "!!int ", "!<", "|\n", ">-\n", "---\n", "...\n",
        "%YAML 1.2\n",
        "<<: ", "\t", "#", "'", "\"", "~", "null", "true", "{{value}}", "{{value|json}}", "\u{202E}", "\u{2028}",
        "\u{FEFF}",
        "30d", "@daily", "Europe/Oslo", "{env: A}", "{file: a}", "\n  ",
    ]

    /// No more than each file gives, and what the rules add.
    private static let mostDiagnostics = 5_000

    private static func check(_ diagnostics: [Diagnostic]) throws {
        try require(diagnostics.count <= mostDiagnostics, "\(diagnostics.count) diagnostics")
        for diagnostic in diagnostics {
            try require(diagnostic.line >= 1 && diagnostic.column >= 1, "no place: \(diagnostic)")
            try require(
                !"\(diagnostic)".unicodeScalars.contains { $0.properties.generalCategory == .control },
                "a message steers the terminal: \(diagnostic.message.debugDescription)")
            try require(!diagnostic.message.isEmpty, "an empty message")
        }
    }

    static func policy(_ folder: ScratchFolder) throws -> FuzzTarget {
        let file = try folder.write(
            """
            state: sqlite:state.db
            identity: {file: identity.txt}
            issuers:
              passwords: {type: random, length: 32}
              iam: {type: aws-iam-access-key, region: eu-west-1}
              tokens: {type: command, run: [./issue]}
            backends:
              files: {type: file, directory: files}
              bao: {type: vault-kv2, address: "https://127.0.0.1:1", auth: {token: {env: TOKEN}}}
              aws: {type: aws-secrets-manager, region: eu-west-1}
            alerts:
              ops: {type: command, run: [./alert]}
            """, to: "policies/keyturn.yaml")
        let (configuration, problems) = ConfigurationLoader.load(file: file, environment: [:], catalog: catalog)
        guard let configuration else { throw Violation("the configuration is wrong: \(problems)") }
        return FuzzTarget("policy", words: words, share: 0.1) { bytes in
            try folder.write(bytes, to: "policies/schedules/policy.yaml")
            let set = PolicyLoader.load(configuration, catalog: catalog)
            try check(set.diagnostics)
            for policy in set.policies {
                try require((try? SecretName(policy.secret.text)) == policy.secret, "a secret's name does not survive")
                try require(policy.backends.count >= 1, "a policy without a backend")
            }
        }
    }

    static func configuration(_ folder: ScratchFolder) throws -> FuzzTarget {
        FuzzTarget("configuration", words: words, share: 0.1) { bytes in
            let file = try folder.write(bytes, to: "configuration/keyturn.yaml")
            let (_, diagnostics) = ConfigurationLoader.read(
                file: file, environment: ["KEYTURN_LIMITS_PERISSUER": "9"], catalog: catalog)
            try check(diagnostics)
            for diagnostic in diagnostics {
                try require(!diagnostic.message.contains(canary), "a literal secret is repeated: \(diagnostic)")
            }
        }
    }
}
