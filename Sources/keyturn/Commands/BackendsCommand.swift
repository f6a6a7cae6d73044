import ArgumentParser
import KeyturnCore
import KeyturnPolicy

struct BackendsCommand: KeyturnCommand {
    static let configuration = CommandConfiguration(
        commandName: "backends",
        abstract: "Lists the types of backends that are built in, or the parameters of one.",
        discussion: """
            Needs no configuration. A backend that "stages" holds a new value that no consumer sees until it is promoted; \
            in the others the write is the promote.

            Exit statuses: 0; 64 when there is no such type.

            Examples:
              keyturn backends
              keyturn backends vault-kv2
              keyturn backends --format json
            """)

    @Argument(help: "A type, to see its parameters.")
    var type: String?

    @OptionGroup var options: GlobalOptions

    private struct Wire: Encodable {
        struct Backend: Encodable {
            let type: String
            let summary: String
            let stages: Bool
            let readsBack: Bool
            let lists: Bool
            let destroys: Bool
            let configuration: JSONSchema
            let target: JSONSchema
        }
        let backends: [Backend]
    }

    func execute() async throws {
        let all = Composition.catalog.backends.sorted { $0.type < $1.type }
        let shown = try TypeName.filter(all, type, \.type, "backend")
        switch options.format {
        case .json: Terminal.print(try JSONText.pretty(Wire(backends: shown.map(Self.wire))))
        case .table where type == nil: Terminal.print(Self.table(shown).text(color: options.color))
        case .table:
            for backend in shown { Self.show(backend, color: options.color) }
        }
    }

    private static func table(_ backends: [BackendDescription]) -> Table {
        var table = Table("TYPE", "STAGES", "READS BACK", "LISTS", "DESTROYS OLD", "SUMMARY")
        for backend in backends {
            let traits = backend.traits
            table.add(
                backend.type, yes(traits.staging == .unseen), yes(traits.readsBack), yes(traits.lists),
                yes(traits.destroys), backend.summary)
        }
        return table
    }

    private static func yes(_ flag: Bool) -> String { flag ? "yes" : "-" }

    private static func show(_ backend: BackendDescription, color: Bool) {
        Terminal.print("\(backend.type): \(backend.summary)")
        for (place, schema) in [
            ("under backends: in keyturn.yaml", backend.configuration),
            ("of an entry of backends: in a policy", backend.target),
        ] {
            Terminal.print("\nParameters \(place):")
            Terminal.print(schema.fields.isEmpty ? "none" : ParameterLines.table(schema).text(color: color))
        }
    }

    private static func wire(_ backend: BackendDescription) -> Wire.Backend {
        let traits = backend.traits
        return Wire.Backend(
            type: backend.type, summary: backend.summary, stages: traits.staging == .unseen,
            readsBack: traits.readsBack, lists: traits.lists, destroys: traits.destroys,
            configuration: JSONSchema(backend.configuration), target: JSONSchema(backend.target))
    }
}
