package import KeyturnCore
import KeyturnSystem

/// Runs a program of the user's with the new key on its standard input. Status 0 means yes, 75 not yet, others no.
package struct CommandCheck: KeyVerifier {
    /// EX_TEMPFAIL of sysexits.h.
    private static let notYet: Int32 = 75

    private let program: ChildProgram

    init(_ parameters: Parameters, _ services: SystemServices) {
        program = ChildProgram(
            parameters.strings("run") ?? [], folder: services.folder, environment: services.environment,
            timeout: Double(parameters.seconds("timeout") ?? 10))
    }

    package func verify(_ key: KeyHandle) async throws(SystemError) -> KeyCheck {
        guard let value = key.material?.value else { return .cannotTell }
        switch try await program.run(input: value).status {
        case 0: return .works
        case Self.notYet: return .notYet("the command check says: not yet")
        case let status: return .refused("the command check ended with status \(status)")
        }
    }

    static let type = CheckType(
        description: CheckDescription(
            type: "command", summary: "A program of yours that gets the new key on its standard input.",
            parameters: ParameterSchema([
                ParameterField("run", .command, required: true, "The program and its arguments."),
                ParameterField("timeout", .duration(1...600), default: .integer(10), "How long it may take."),
            ]))
    ) { parameters, services in CommandCheck(parameters, services) }
}
