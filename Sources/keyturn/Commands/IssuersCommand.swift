import ArgumentParser
import KeyturnCore
import KeyturnPolicy

struct IssuersCommand: KeyturnCommand {
    static let configuration = CommandConfiguration(
        commandName: "issuers",
        abstract: "Lists the types of issuers that are built in, or the parameters of one.",
        discussion: """
            Needs no configuration. A key that is "listable" is found again when the answer to its creation was lost; \
            one that is "unlistable" is reported as possibly orphaned until it ends; "chosen" keys and "slots" are simply \
            set again.

            Exit statuses: 0; 64 when there is no such type.

            Examples:
              keyturn issuers
              keyturn issuers aws-iam-access-key
              keyturn issuers --format json
            """)

    @Argument(help: "A type, to see its parameters.")
    var type: String?

    @OptionGroup var options: GlobalOptions

    private struct Wire: Encodable {
        struct Issuer: Encodable {
            let type: String
            let summary: String
            let kind: String
            @Nullable var keyLimit: Int?
            let enforcesExpiry: Bool
            let checks: Bool
            let disables: Bool
            let reportsLastUse: Bool
            let revokes: Bool
            let fields: [String]
            let configuration: JSONSchema
            let issue: JSONSchema
        }
        let issuers: [Issuer]
    }

    func execute() async throws {
        try BuiltIn(
            what: "issuer", all: Composition.catalog.issuers, type: \.type, table: Self.table,
            about: { issuer in
                var lines = ["\(issuer.type): \(issuer.summary)"]
                if !issuer.fields.isEmpty {
                    lines.append("Fields for templates, beside value: \(issuer.fields.joined(separator: ", "))")
                }
                let places = [
                    ("under issuers: in keyturn.yaml", issuer.configuration),
                    ("under issue: in a policy", issuer.issue),
                ]
                return (lines, places)
            }, json: { try JSONText.pretty(Wire(issuers: $0.map(Self.wire))) }
        ).show(type, options)
    }

    private static func table(_ issuers: [IssuerDescription]) -> Table {
        var table = Table("TYPE", "KEYS", "AT MOST", "ENDS THEM", "TRIES THEM", "SWITCHES OFF", "LAST USE", "SUMMARY")
        for issuer in issuers {
            let traits = issuer.traits
            table.add(
                issuer.type, traits.kind.rawValue, traits.keyLimit.map(String.init) ?? "-", traits.enforcesExpiry.cell,
                traits.checks.cell, traits.disables.cell, traits.reportsLastUse.cell, issuer.summary)
        }
        return table
    }

    private static func wire(_ issuer: IssuerDescription) -> Wire.Issuer {
        let traits = issuer.traits
        return Wire.Issuer(
            type: issuer.type, summary: issuer.summary, kind: traits.kind.rawValue, keyLimit: traits.keyLimit,
            enforcesExpiry: traits.enforcesExpiry, checks: traits.checks, disables: traits.disables,
            reportsLastUse: traits.reportsLastUse, revokes: traits.revokes, fields: issuer.fields,
            configuration: JSONSchema(issuer.configuration), issue: JSONSchema(issuer.issue))
    }
}
