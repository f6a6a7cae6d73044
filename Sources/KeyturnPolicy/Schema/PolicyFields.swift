import KeyturnCore

/// The fields of a policy that no type of system decides, by the names under which ``PolicyReader`` reads them.
enum PolicyFields {
    private static let duration = ParameterKind.duration(1...Int(PolicyDuration.maximumSeconds))

    static let root = ParameterSchema([
        ParameterField("secret", .string(), required: true, "The name, such as team/service-key."),
        ParameterField("description", .string(), "What it is, for people."),
        ParameterField("owner", .string(), "Who is told of it, for people."),
        ParameterField("issuer", .string(), required: true, "An issuer of keyturn.yaml, which makes the keys."),
        ParameterField("issue", .any, "What the issuer's type asks for."),
        ParameterField(
            "lifetime", .either([duration, .choice(["never"])]), required: true,
            "How long a key is valid, such as 30d, or never."),
        ParameterField("allowNoExpiry", .boolean, "Says that a key without an end is wanted."),
        ParameterField("rotate", .object(rotate), required: true, "When a new key is made."),
        ParameterField("grace", duration, "How long the old key goes on working after the new one is current."),
        ParameterField("backends", .list(of: .any, minimumCount: 1), required: true, "Where the key goes."),
        ParameterField("verify", .list(of: .any), "Checks that a new key has to pass before a consumer sees it."),
        ParameterField("retire", .object(retire), "What the old key waits for."),
        ParameterField("after", .list(of: .string()), "Secrets whose rotation goes first."),
        ParameterField("alerts", .list(of: .string()), "Alert sinks of keyturn.yaml; all of them when absent."),
    ])

    static let rotate = ParameterSchema([
        ParameterField("every", duration, "The time from one rotation to the next; this or cron."),
        ParameterField("cron", .string(), "Five fields of cron; this or every."),
        ParameterField("timezone", .string(), default: .string("UTC"), "The zone of cron and window: Europe/Oslo."),
        ParameterField("renewBefore", duration, "How long before its end a key is replaced at the latest."),
        ParameterField("jitter", duration, "Up to how much later a rotation begins, always the same for a secret."),
        ParameterField("window", .object(window), "Hours in which rotations may begin."),
    ])

    static let window = ParameterSchema([
        ParameterField("days", .string(), "Days of the week, such as mon-fri."),
        ParameterField("from", .string(), required: true, "A time of day, such as 09:00."),
        ParameterField("to", .string(), required: true, "A time of day; one before from is on the next day."),
        ParameterField(
            "onConflict", .choice(RotationWindow.OnConflict.allCases.map(\.rawValue)),
            default: .string(RotationWindow.OnConflict.deadline.rawValue),
            "What goes first when a key would end before the window opens."),
    ])

    static let backend = ParameterSchema([
        ParameterField("name", .string(), required: true, "A backend of keyturn.yaml."),
        ParameterField("path", .string(), "Where in the backend; the secret's name when absent."),
        ParameterField("template", .string(), "The text that is stored, with {{value}} in it."),
        ParameterField("required", .boolean, default: .boolean(true), "Whether the rotation waits for it."),
        ParameterField("bestEffort", .boolean, default: .boolean(false), "The opposite of required."),
        ParameterField("overwrite", .boolean, default: .boolean(false), "Whether a value of others may be replaced."),
    ])

    static let retire = ParameterSchema([
        ParameterField("whenUnused", duration, "How long the issuer must have seen no use of the old key."),
        ParameterField("observe", duration, "How long the old key is switched off before it is revoked."),
        ParameterField(
            "health", .list(of: .any), "Checks while it is off; one that fails switches it on again."),
        ParameterField(
            "onCompromise", .choice(RetirementRule.OnCompromise.allCases.map(\.rawValue)),
            default: .string(RetirementRule.OnCompromise.revokeLast.rawValue),
            "When the old key is revoked in a rotation with --compromised."),
    ])
}
