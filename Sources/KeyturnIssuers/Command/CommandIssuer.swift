package import Foundation
package import KeyturnCore
import KeyturnSystem

/// A program of the user's that makes and revokes keys. The protocol is in the article <doc:CommandIssuer>.
package struct CommandIssuer: DisablesKeys, ReportsLastUse, ListsKeys {
    package let traits: IssuerTraits
    private let program: ChildProgram

    init(_ parameters: Parameters, _ services: SystemServices) {
        let kind = IssuerKind(rawValue: parameters.string("kind") ?? "") ?? .listable
        traits = IssuerTraits(
            kind: kind, keyLimit: parameters.integer("keyLimit"), enforcesExpiry: true,
            checks: parameters.boolean("checks") ?? true, disables: parameters.boolean("disables") ?? false,
            reportsLastUse: parameters.boolean("reportsLastUse") ?? false)
        program = ChildProgram(
            parameters.strings("run") ?? [], folder: services.folder, environment: services.environment,
            timeout: Double(parameters.seconds("timeout") ?? 30))
    }

    /// How long a program that ran out of time has to end, in seconds; see ``ChildProgram``.
    private static let endingPatience = 2.0

    private struct Question: Encodable {
        let operation: String
        var secret: String?
        var version: Int?
        var lineage: String?
        var lifetimeSeconds: Int64?
        var parameters: Parameters?
        var keyId: String?
        var value: ExposedValue?

        enum CodingKeys: CodingKey {
            case operation, secret, version, lineage, lifetimeSeconds, parameters, keyId, value
        }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(operation, forKey: .operation)
            try container.encodeIfPresent(secret, forKey: .secret)
            try container.encodeIfPresent(version, forKey: .version)
            try container.encodeIfPresent(lineage, forKey: .lineage)
            try container.encodeIfPresent(lifetimeSeconds, forKey: .lifetimeSeconds)
            try container.encodeIfPresent(parameters?.mapValues(PlainParameter.init), forKey: .parameters)
            try container.encodeIfPresent(keyId, forKey: .keyId)
            try container.encodeIfPresent(value, forKey: .value)
        }
    }

    private struct Created: Decodable {
        let keyId: String?
        let value: String
        let fields: [String: String]?
        let expiresAt: String?
    }

    private struct Listed: Decodable {
        struct Key: Decodable {
            let keyId: String
            let lineage: String?
            let createdAt: String?
        }
        let keys: [Key]
    }

    private struct Checked: Decodable { let status: String }
    private struct LastUsed: Decodable { let lastUsedAt: String? }

    package func prepare(_ request: IssueRequest) async throws(SystemError) -> IssuePreparation { IssuePreparation() }

    package func issue(
        _ request: IssueRequest, prepared: IssuePreparation
    ) async throws(SystemError) -> IssuedKey {
        var question = Question(operation: "create")
        question.secret = request.lineage.secret.text
        question.version = request.lineage.version
        question.lineage = request.lineage.description
        question.lifetimeSeconds = request.lifetime
        question.parameters = request.parameters
        let created = try await JSONDialogue.ask(program, question, as: Created.self)
        guard !created.value.isEmpty else {
            throw SystemError(.badAnswer, "the program answered without a value", mayHaveTakenEffect: true)
        }
        let expiresAt: Date?
        if let text = created.expiresAt {
            guard let date = Self.date(text) else {
                throw SystemError(.badAnswer, "the program's expiresAt is not RFC 3339", mayHaveTakenEffect: true)
            }
            expiresAt = date
        } else {
            expiresAt = request.lifetime.map { request.intendedAt.addingTimeInterval(TimeInterval($0)) }
        }
        return IssuedKey(
            material: KeyMaterial(
                value: SecretValue(utf8: created.value),
                fields: (created.fields ?? [:]).mapValues { SecretValue(utf8: $0) }),
            keyID: created.keyId, issuedAt: request.intendedAt, expiresAt: expiresAt)
    }

    package func resolve(
        _ request: IssueRequest, prepared: IssuePreparation
    ) async throws(SystemError) -> IssueResolution {
        guard traits.kind == .listable else {
            return .unknowable(
                diesAt: request.lifetime.map { request.intendedAt.addingTimeInterval(TimeInterval($0) + 300) })
        }
        let ours = try await keys(for: request.parameters).filter { $0.lineage == request.lineage }
        guard ours.isEmpty else { return .orphaned(keyIDs: ours.map(\.keyID)) }
        // A program outlives us when we are killed, and may still be at it for as long as it has time.
        let left = program.timeout + Self.endingPatience - request.waited
        return left > 0 ? .undecided(retryAfter: min(5, left)) : .neverMade
    }

    package func check(_ key: KeyHandle) async throws(SystemError) -> KeyCheck {
        switch try await JSONDialogue.ask(program, question("check", key, withValue: true), as: Checked.self).status {
        case "works": return .works
        case "notYet": return .notYet("the program says: not yet")
        case "refused": return .refused("the program says that the key is refused")
        case "cannotTell": return .cannotTell
        default: throw SystemError(.badAnswer, "the program's status is none of works, notYet, refused, cannotTell")
        }
    }

    package func revoke(_ key: KeyHandle) async throws(SystemError) {
        do throws(SystemError) {
            _ = try await JSONDialogue.ask(program, question("revoke", key), as: Acknowledgement.self)
        } catch {
            guard error.code != .notFound else { return }
            throw error
        }
    }

    package func disable(_ key: KeyHandle) async throws(SystemError) {
        _ = try await JSONDialogue.ask(program, question("disable", key), as: Acknowledgement.self)
    }

    package func enable(_ key: KeyHandle) async throws(SystemError) {
        _ = try await JSONDialogue.ask(program, question("enable", key), as: Acknowledgement.self)
    }

    package func lastUse(of key: KeyHandle) async throws(SystemError) -> Date? {
        try await JSONDialogue.ask(program, question("lastUse", key), as: LastUsed.self).lastUsedAt.flatMap(Self.date)
    }

    package func keys(for parameters: Parameters) async throws(SystemError) -> [ListedKey] {
        var question = Question(operation: "list")
        question.parameters = parameters
        return try await JSONDialogue.ask(program, question, as: Listed.self).keys.map { key in
            ListedKey(
                keyID: key.keyId, createdAt: key.createdAt.flatMap(Self.date),
                lineage: key.lineage.flatMap(Lineage.init))
        }
    }

    package func probe(_ parameters: Parameters) async throws(SystemError) {
        if traits.kind == .listable { _ = try await keys(for: parameters) }
    }

    private func question(_ operation: String, _ key: KeyHandle, withValue: Bool = false) -> Question {
        var question = Question(operation: operation)
        question.secret = key.secret.text
        question.version = key.version
        question.keyId = key.keyID
        question.parameters = key.parameters
        if withValue { question.value = (key.material?.value).map(ExposedValue.init) }
        return question
    }

    private static func date(_ text: String) -> Date? { try? Date(text, strategy: .iso8601) }
}

/// A parameter as plain JSON. Policies hold no secrets, so none goes out this way.
private struct PlainParameter: Encodable {
    let value: ParameterValue

    init(_ value: ParameterValue) { self.value = value }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch value {
        case .string(let text): try container.encode(text)
        case .integer(let number): try container.encode(number)
        case .decimal(let number): try container.encode(number)
        case .boolean(let flag): try container.encode(flag)
        case .list(let items): try container.encode(items.map(PlainParameter.init))
        case .map(let members): try container.encode(members.mapValues(PlainParameter.init))
        case .secret, .null: try container.encodeNil()
        }
    }
}

extension CommandIssuer {
    static let type = IssuerType(description: description) { _, parameters, services in
        CommandIssuer(parameters, services)
    }

    static let description = IssuerDescription(
        type: "command", summary: "A program of yours that makes and revokes keys, asked in JSON.",
        configuration: ParameterSchema([
            ParameterField("run", .command, required: true, "The program and its arguments."),
            ParameterField("timeout", .duration(1...600), default: .integer(30), "How long one question may take."),
            ParameterField(
                "kind", .choice(["listable", "unlistable"]), default: .string("listable"),
                "Whether it can list the keys that it made, with their lineage."),
            ParameterField("keyLimit", .integer(2...1_000_000), "How many keys may exist at once."),
            ParameterField("checks", .boolean, default: .boolean(true), "Whether it answers `check`."),
            ParameterField(
                "disables", .boolean, default: .boolean(false), "Whether it answers `disable` and `enable`."),
            ParameterField("reportsLastUse", .boolean, default: .boolean(false), "Whether it answers `lastUse`."),
        ]),
        issue: ParameterSchema([
            ParameterField("parameters", .any, "Anything; handed to the program as it is.")
        ]),
        traits: IssuerTraits(
            kind: .listable, enforcesExpiry: true, checks: true, disables: true, reportsLastUse: true))
}
