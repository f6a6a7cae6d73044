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
        try BuiltIn(
            what: "backend", all: Composition.catalog.backends, type: \.type, table: Self.table,
            about: { backend in
                let places = [
                    ("under backends: in keyturn.yaml", backend.configuration),
                    ("of an entry of backends: in a policy", backend.target),
                ]
                return (["\(backend.type): \(backend.summary)"], places)
            }, json: { try JSONText.pretty(Wire(backends: $0.map(Self.wire))) }
        ).show(type, options)
    }

    private static func table(_ backends: [BackendDescription]) -> Table {
        var table = Table("TYPE", "STAGES", "READS BACK", "LISTS", "DESTROYS OLD", "SUMMARY")
        for backend in backends {
            let traits = backend.traits
            table.add(
                backend.type, (traits.staging == .unseen).cell, traits.readsBack.cell, traits.lists.cell,
                traits.destroys.cell, backend.summary)
        }
        return table
    }

    private static func wire(_ backend: BackendDescription) -> Wire.Backend {
        let traits = backend.traits
        return Wire.Backend(
            type: backend.type, summary: backend.summary, stages: traits.staging == .unseen,
            readsBack: traits.readsBack, lists: traits.lists, destroys: traits.destroys,
            configuration: JSONSchema(backend.configuration), target: JSONSchema(backend.target))
    }
}
