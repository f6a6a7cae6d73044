import ArgumentParser
import Foundation
import KeyturnPolicy

struct SchemaCommand: KeyturnCommand {
    static let configuration = CommandConfiguration(
        commandName: "schema",
        abstract: "Prints the JSON Schema of policies or of keyturn.yaml, by which editors complete and check.",
        discussion: """
            The schema of policies knows the issuers, backends and alert sinks of the configuration, where there is one \
            that can be read; without one it takes any names. What is more than a shape, such as a grace that leaves no room \
            before the end of a key, `keyturn validate` finds.

            Exit statuses: 0; 64 usage; 65 when a configuration that --config names can't be read.

            Examples:
              keyturn schema policy > policy.schema.json
              keyturn schema configuration > keyturn.schema.json
            and as the first line of a policy, for editors with the YAML language server:
              # yaml-language-server: $schema=../policy.schema.json
            """)

    enum Document: String, ExpressibleByArgument, CaseIterable {
        case policy, configuration
    }

    @Argument(help: "What it is the schema of: policy or configuration.")
    var document: Document

    @OptionGroup var options: GlobalOptions

    func execute() async throws {
        switch document {
        case .configuration: Terminal.print(try JSONText.pretty(JSONSchema.configuration(Composition.catalog)))
        case .policy: Terminal.print(try JSONText.pretty(JSONSchema.policy(Composition.catalog, try known())))
        }
    }

    /// The configuration that applies, with whatever of it can be read.
    private func known() throws -> Configuration? {
        let isNamed = options.config != nil
        let path: String
        do throws(CommandFailure) { path = try options.configPath() } catch {
            if isNamed { throw error }
            return nil
        }
        let (configuration, found) = ConfigurationLoader.read(
            file: path, environment: ProcessInfo.processInfo.environment, catalog: Composition.catalog)
        if let configuration { return configuration }
        for diagnostic in found { Terminal.tell("\(diagnostic)") }
        guard isNamed else { return nil }
        throw CommandFailure(
            .badConfiguration, "the configuration can't be read", advice: "mend what is shown above")
    }
}
