package import KeyturnCore
import KeyturnSystem

/// A program of the user's that stores values. The protocol is in the article <doc:CommandBackend>.
package struct CommandBackend: Backend {
    package let traits: BackendTraits
    private let program: ChildProgram

    init(_ parameters: Parameters, _ services: SystemServices) {
        traits = BackendTraits(
            staging: parameters.boolean("stages") == true ? .unseen : .onPromote,
            readsBack: parameters.boolean("readsBack") ?? true, lists: false, destroys: true)
        program = ChildProgram(
            parameters.strings("run") ?? [], folder: services.folder, environment: services.environment,
            timeout: Double(parameters.seconds("timeout") ?? 30))
    }

    private struct Question: Encodable {
        let operation: String
        let path: String
        var secret: String?
        var version: Int?
        var value: ExposedValue?
        var replaces: Int?
        var receipt: [String: String]?
        var idempotencyKey: String?
    }

    private struct Stored: Decodable {
        let receipt: [String: String]?
    }

    private struct Read: Decodable {
        let found: Bool
        let value: String?
    }

    package func stage(
        _ write: VersionWrite, at target: BackendTarget
    ) async throws(SystemError) -> StageResult {
        guard traits.staging == .unseen else { return .deferred("the program can't hold a pending version") }
        let stored = try await JSONDialogue.ask(program, question("stage", write, target), as: Stored.self)
        return .staged(stored.receipt ?? [:])
    }

    package func promote(_ write: VersionWrite, at target: BackendTarget) async throws(SystemError) -> Receipt {
        if traits.readsBack {
            let present = try await read(.current, at: target)?.value
            // Also when it is done already the program is asked: its receipt may have been lost with the last answer.
            _ = try PromoteGuard.judge(present, for: write, at: "the program at \(target.path)")
        }
        return try await JSONDialogue.ask(program, question("promote", write, target), as: Stored.self).receipt ?? [:]
    }

    package func read(
        _ selection: StoredSelection, at target: BackendTarget
    ) async throws(SystemError) -> StoredValue? {
        guard traits.readsBack else { throw SystemError(.unsupported, "the program does not answer `read`") }
        var question = Question(operation: "read", path: target.path)
        if case .version(let reference) = selection {
            question.secret = reference.secret.text
            question.version = reference.version
            question.receipt = reference.receipt
        }
        let answer = try await JSONDialogue.ask(program, question, as: Read.self)
        guard answer.found, let value = answer.value else { return nil }
        return StoredValue(value: SecretValue(utf8: value), version: nil, receipt: [:])
    }

    package func unstage(_ version: VersionReference, at target: BackendTarget) async throws(SystemError) {
        guard traits.staging == .unseen else { return }
        _ = try await JSONDialogue.ask(program, question("unstage", version, target), as: Acknowledgement.self)
    }

    package func prune(_ version: VersionReference, at target: BackendTarget) async throws(SystemError) {
        _ = try await JSONDialogue.ask(program, question("prune", version, target), as: Acknowledgement.self)
    }

    package func list(at target: BackendTarget) async throws(SystemError) -> [ListedVersion] {
        throw SystemError(.unsupported, "a program is not asked for a list")
    }

    package func probe(_ target: BackendTarget) async throws(SystemError) {
        _ = try await JSONDialogue.ask(
            program, Question(operation: "probe", path: target.path), as: Acknowledgement.self)
    }

    private func question(_ operation: String, _ write: VersionWrite, _ target: BackendTarget) -> Question {
        Question(
            operation: operation, path: target.path, secret: write.secret.text, version: write.version,
            value: ExposedValue(write.value), replaces: write.replaces?.version, receipt: write.receipt,
            idempotencyKey: write.idempotencyKey)
    }

    private func question(_ operation: String, _ version: VersionReference, _ target: BackendTarget) -> Question {
        Question(
            operation: operation, path: target.path, secret: version.secret.text, version: version.version,
            receipt: version.receipt)
    }
}

extension CommandBackend {
    static let type = BackendType(description: description) { _, parameters, services in
        CommandBackend(parameters, services)
    }

    static let description = BackendDescription(
        type: "command", summary: "A program of yours that stores values, asked in JSON.",
        configuration: ParameterSchema([
            ParameterField("run", .command, required: true, "The program and its arguments."),
            ParameterField("timeout", .duration(1...600), default: .integer(30), "How long one question may take."),
            ParameterField(
                "stages", .boolean, default: .boolean(false), "Whether it holds a pending version unseen."),
            ParameterField("readsBack", .boolean, default: .boolean(true), "Whether it answers `read`."),
        ]), target: ParameterSchema(),
        traits: BackendTraits(staging: .onPromote, readsBack: true, lists: false, destroys: true))
}
