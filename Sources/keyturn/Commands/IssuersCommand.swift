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
        let all = Composition.catalog.issuers.sorted { $0.type < $1.type }
        let shown = try TypeName.filter(all, type, \.type, "issuer")
        switch options.format {
        case .json: Terminal.print(try JSONText.pretty(Wire(issuers: shown.map(Self.wire))))
        case .table where type == nil: Terminal.print(Self.table(shown).text(color: options.color))
        case .table:
            for issuer in shown { Self.show(issuer, color: options.color) }
        }
    }

    private static func table(_ issuers: [IssuerDescription]) -> Table {
        var table = Table("TYPE", "KEYS", "AT MOST", "ENDS THEM", "TRIES THEM", "SWITCHES OFF", "LAST USE", "SUMMARY")
        for issuer in issuers {
            let traits = issuer.traits
            table.add(
                issuer.type, traits.kind.rawValue, traits.keyLimit.map(String.init) ?? "-", yes(traits.enforcesExpiry),
                yes(traits.checks), yes(traits.disables), yes(traits.reportsLastUse), issuer.summary)
        }
        return table
    }

    private static func yes(_ flag: Bool) -> String { flag ? "yes" : "-" }

    private static func show(_ issuer: IssuerDescription, color: Bool) {
        Terminal.print("\(issuer.type): \(issuer.summary)")
        if !issuer.fields.isEmpty {
            Terminal.print("Fields for templates, beside value: \(issuer.fields.joined(separator: ", "))")
        }
        for (place, schema) in [
            ("under issuers: in keyturn.yaml", issuer.configuration), ("under issue: in a policy", issuer.issue),
        ] {
            Terminal.print("\nParameters \(place):")
            Terminal.print(schema.fields.isEmpty ? "none" : ParameterLines.table(schema).text(color: color))
        }
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
