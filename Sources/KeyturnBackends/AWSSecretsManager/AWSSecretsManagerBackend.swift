import Foundation
package import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

/// AWS Secrets Manager. A pending version carries the label `keyturn-pending`; promoting moves AWSCURRENT, from exactly
/// the version that had it.
///
/// AWSPENDING is left alone: it belongs to the service's own rotation. The first version of a secret gets AWSCURRENT
/// from the service at once, so that it is written only when it is promoted.
package struct AWSSecretsManagerBackend: Backend {
    package let traits: BackendTraits = Self.description.traits

    private static let pendingLabel = "keyturn-pending"
    private static let currentLabel = "AWSCURRENT"
    private static let previousLabel = "AWSPREVIOUS"

    private let client: AWSJSONClient
    private let kmsKeyID: String?

    init(_ parameters: Parameters, _ services: SystemServices) throws(SystemError) {
        client = try AWSJSONClient(SecretsManagerWire.service, parameters, services)
        kmsKeyID = parameters.string("kmsKeyId")
    }

    private typealias Wire = SecretsManagerWire

    package func stage(
        _ write: VersionWrite, at target: BackendTarget
    ) async throws(SystemError) -> StageResult {
        guard let secret = try await describe(target), secret.versionHolding(Self.currentLabel) != nil else {
            return .deferred("the first version becomes current as soon as it is written; promoting writes it")
        }
        let id = versionID(write)
        try await put(write, id, target, labels: [Self.pendingLabel], known: secret)
        return .staged(["versionId": id])
    }

    package func promote(_ write: VersionWrite, at target: BackendTarget) async throws(SystemError) -> Receipt {
        let id = versionID(write)
        var secret = try await describe(target)
        if secret == nil {
            try await create(write, target)
            secret = Wire.Described()
        }
        guard let secret else { return [:] }
        guard let holder = secret.versionHolding(Self.currentLabel) else {
            // The service labels the first version by itself, and is asked for it all the same.
            try await put(write, id, target, labels: [Self.currentLabel], known: secret)
            return ["versionId": id]
        }
        if holder != id {
            let present = try await value(.init(SecretId: target.path, VersionStage: Self.currentLabel))
            let place = "\(client.name), \(target.path)"
            // The same bytes under another version's id are not ours yet, and harm nobody.
            _ = try PromoteGuard.judge(present, for: write, at: place)
            try await put(write, id, target, labels: [Self.pendingLabel], known: secret)
            try await moveLabel(Self.currentLabel, to: id, from: holder, target)
        }
        try await unlabel(id, Self.pendingLabel, target)
        return ["versionId": id]
    }

    package func read(
        _ selection: StoredSelection, at target: BackendTarget
    ) async throws(SystemError) -> StoredValue? {
        let question: Wire.GetValue
        switch selection {
        case .current: question = Wire.GetValue(SecretId: target.path, VersionStage: Self.currentLabel)
        case .version(let reference):
            guard let id = reference.receipt["versionId"] else { return nil }
            question = Wire.GetValue(SecretId: target.path, VersionId: id)
        }
        return try await value(question).map { StoredValue(value: $0, version: nil, receipt: [:]) }
    }

    /// The id of a version is made of installation, secret and number: the number is the one that gives this id.
    package func mark(
        of secret: SecretName, instance: String, at target: BackendTarget
    ) async throws(SystemError) -> WriteMark? {
        guard let holder = try await describe(target)?.versionHolding(Self.currentLabel) else { return nil }
        let number = (1...Self.highestNumber).first {
            IdempotencyKey.uuid(instance: instance, secret: secret, version: $0) == holder
        }
        return number.map { WriteMark(instance: instance, generation: nil, version: $0) }
    }

    /// More than hourly rotations for a year.
    private static let highestNumber = 10_000

    package func unstage(_ version: VersionReference, at target: BackendTarget) async throws(SystemError) {
        guard let id = version.receipt["versionId"] else { return }
        try await unlabel(id, Self.pendingLabel, target)
    }

    /// Versions can't be deleted; one without labels is removed by the service in its own time.
    package func prune(_ version: VersionReference, at target: BackendTarget) async throws(SystemError) {
        guard let id = version.receipt["versionId"] else { return }
        for label in [Self.pendingLabel, Self.previousLabel] { try await unlabel(id, label, target) }
    }

    package func list(at target: BackendTarget) async throws(SystemError) -> [ListedVersion] {
        guard let secret = try await describe(target) else { return [] }
        return (secret.VersionIdsToStages ?? [:]).sorted { $0.key < $1.key }.map { id, labels in
            ListedVersion(
                identifier: id, version: nil, isCurrent: labels.contains(Self.currentLabel),
                isPending: labels.contains(Self.pendingLabel), receipt: ["versionId": id])
        }
    }

    package func probe(_ target: BackendTarget) async throws(SystemError) { _ = try await describe(target) }

    private func versionID(_ write: VersionWrite) -> String {
        IdempotencyKey.uuid(instance: write.instance, secret: write.secret, version: write.version)
    }

    /// - Throws: `conflict` for a secret that the service rotates or another service owns.
    private func describe(_ target: BackendTarget) async throws(SystemError) -> Wire.Described? {
        let secret: Wire.Described
        do throws(SystemError) {
            secret = try await client.call("DescribeSecret", Wire.Named(SecretId: target.path), as: Wire.Described.self)
        } catch {
            guard error.code != .notFound else { return nil }
            throw error
        }
        if secret.RotationEnabled == true || secret.OwningService != nil {
            throw SystemError(
                .conflict, "\(client.name): \(target.path) is rotated or owned by another service",
                advice: "turn its rotation off there, or name another path")
        }
        if secret.DeletedDate != nil {
            throw SystemError(
                .conflict, "\(client.name): \(target.path) is to be deleted", advice: "restore it, or name another path"
            )
        }
        return secret
    }

    /// Creates the secret without a value, so that nothing is current yet.
    private func create(_ write: VersionWrite, _ target: BackendTarget) async throws(SystemError) {
        let question = Wire.Create(
            Name: target.path, Description: "Kept by Keyturn", KmsKeyId: kmsKeyID,
            Tags: [
                Wire.Tag(Key: "keyturn:secret", Value: write.secret.text),
                Wire.Tag(Key: "keyturn:instance", Value: write.instance),
            ])
        do throws(SystemError) { _ = try await client.call("CreateSecret", question, as: Wire.Empty.self) } catch {
            // A lost answer before: it is there already.
            guard error.code == .conflict else { throw error }
        }
    }

    /// The same id with the same value does nothing; an id with another value is refused, and checked here too, since
    /// not every server does.
    private func put(
        _ write: VersionWrite, _ id: String, _ target: BackendTarget, labels: [String], known: Wire.Described
    ) async throws(SystemError) {
        if known.VersionIdsToStages?[id] != nil {
            guard let stored = try await value(.init(SecretId: target.path, VersionId: id)) else { return }
            guard stored.matches(write.value) else {
                throw SystemError(.conflict, "\(client.name): version \(write.version) lies there with another value")
            }
            return
        }
        guard let text = write.value.exposedText() else {
            throw SystemError(.misconfigured, "the value is not UTF-8", advice: "use {{value|base64}} in a template")
        }
        _ = try await client.call(
            "PutSecretValue",
            Wire.PutValue(SecretId: target.path, ClientRequestToken: id, SecretString: text, VersionStages: labels),
            as: Wire.Empty.self)
    }

    private func unlabel(_ id: String, _ label: String, _ target: BackendTarget) async throws(SystemError) {
        guard let secret = try await describe(target), secret.VersionIdsToStages?[id]?.contains(label) == true else {
            return
        }
        try await moveLabel(label, to: nil, from: id, target)
    }

    private func moveLabel(
        _ label: String, to id: String?, from holder: String, _ target: BackendTarget
    ) async throws(SystemError) {
        // The second time it is refused, since the first has taken the label from the version that it names.
        _ = try await client.call(
            "UpdateSecretVersionStage",
            Wire.UpdateStage(
                SecretId: target.path, VersionStage: label, MoveToVersionId: id, RemoveFromVersionId: holder),
            as: Wire.Empty.self, mayRepeat: false)
    }

    private func value(_ question: Wire.GetValue) async throws(SystemError) -> SecretValue? {
        do throws(SystemError) {
            let answer = try await client.call("GetSecretValue", question, as: Wire.Value.self)
            if let text = answer.SecretString { return SecretValue(utf8: text) }
            return answer.SecretBinary.map { SecretValue($0) }
        } catch {
            guard error.code != .notFound else { return nil }
            throw error
        }
    }
}

extension AWSSecretsManagerBackend {
    static let type = BackendType(description: description) { (_, parameters, services) throws(SystemError) in
        try AWSSecretsManagerBackend(parameters, services)
    }

    static let description = BackendDescription(
        type: "aws-secrets-manager", summary: "AWS Secrets Manager.",
        configuration: ParameterSchema(
            AWSJSONClient.fields
                + [ParameterField("kmsKeyId", .string(), "The KMS key for secrets that Keyturn creates.")],
            check: AWSJSONClient.regionProblems), target: ParameterSchema(),
        traits: BackendTraits(staging: .unseen, readsBack: true, lists: true, destroys: false)
    ) { path in
        let allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/_+=.@-"
        guard (1...512).contains(path.utf8.count), path.utf8.allSatisfy({ allowed.utf8.contains($0) }) else {
            return "AWS allows letters, digits and /_+=.@- only, 512 at most"
        }
        return nil
    }
}
