import KeyturnCore

/// The fields of keyturn.yaml that no type of system decides, by the names under which ``ConfigurationLoader`` reads them.
enum ConfigurationFields {
    static let root = ParameterSchema([
        ParameterField("state", .string(), default: .string("sqlite:var/keyturn.db"), "sqlite:PATH, the journal."),
        ParameterField("schedules", .path, default: .string("schedules"), "The folder of the policies."),
        ParameterField(
            "identity", .object(identity),
            "Opens the file vault and what is sealed in the journal. Required, unless KEYTURN_IDENTITY_FILE names it."),
        ParameterField("issuers", .any, "What makes keys, by name."),
        ParameterField("backends", .any, "Where keys go, by name."),
        ParameterField("alerts", .any, "Who is told, by name."),
        ParameterField("limits", .object(limits), "How much may happen at once."),
        ParameterField("listen", .string(), "Accepted; nothing listens in this version."),
        ParameterField("clock", .object(clock), "The clock guard."),
        ParameterField("audit", .object(audit), "What makes the audit trail provable."),
        ParameterField("drift", .object(drift), "Looking for backends that have drifted."),
    ])

    static let identity = file("An age identity, as age-keygen writes it.")
    static let signingKey = file("An Ed25519 private key in PEM.")

    static let limits = ParameterSchema([
        ParameterField("concurrency", .integer(1...1024), default: .integer(64), "Secrets worked on at the same time."),
        ParameterField("perIssuer", .integer(1...1024), default: .integer(8), "Calls at the same time to one issuer."),
        ParameterField(
            "perBackend", .integer(1...1024), default: .integer(32), "Calls at the same time to a backend."),
        ParameterField("maxRotationsPerHour", .integer(1...100_000), "Rotations that may begin in any hour."),
        ParameterField(
            "stopAfterFailures", .integer(1...100_000), "Failed rotations in a row after which everything is paused."),
    ])

    static let clock = ParameterSchema([
        ParameterField(
            "tolerance", .duration(10...Int(PolicyDuration.maximumSeconds)), default: .integer(300),
            "How far clocks may differ before nothing is retired.")
    ])

    static let audit = ParameterSchema([
        ParameterField("signingKey", .object(signingKey), "Signs the checkpoints of the audit trail."),
        ParameterField("checkpoints", .path, "A file to which each checkpoint is added too."),
    ])

    static let drift = ParameterSchema([
        ParameterField(
            "every", .duration(60...Int(PolicyDuration.maximumSeconds)), required: true,
            "How often the daemon looks.")
    ])

    private static func file(_ summary: String) -> ParameterSchema {
        ParameterSchema([ParameterField("file", .path, required: true, summary)])
    }
}
