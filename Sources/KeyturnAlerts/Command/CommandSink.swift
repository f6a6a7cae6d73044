package import KeyturnCore
import KeyturnSystem

/// Runs a program of the user's with the alert as JSON on its standard input. Status 0 means that it has it.
package struct CommandSink: AlertSink {
    private let program: ChildProgram

    init(_ parameters: Parameters, _ services: SystemServices) {
        program = ChildProgram(
            parameters.strings("run") ?? [], folder: services.folder, environment: services.environment,
            timeout: Double(parameters.seconds("timeout") ?? 30))
    }

    package func deliver(_ event: AlertEvent) async throws(SystemError) {
        let outcome = try await program.run(input: SecretValue(try AlertWire(event).encoded()))
        guard outcome.status == 0 else {
            throw SystemError(
                .local, "the alert command ended with status \(outcome.status)", disposition: .passing)
        }
    }

    static let type = AlertType(
        description: AlertDescription(
            type: "command", summary: "A program of yours that gets the alert on its standard input.",
            configuration: ParameterSchema([
                ParameterField("run", .command, required: true, "The program and its arguments."),
                ParameterField("timeout", .duration(1...600), default: .integer(30), "How long it may take."),
            ]))
    ) { _, parameters, services in CommandSink(parameters, services) }
}
