import Foundation
package import KeyturnCore
import KeyturnSystem

/// A SecureString in Parameter Store of AWS Systems Manager. Who reads a parameter by its name gets the newest version, so
/// that writing is promoting.
///
/// There is no compare-and-swap: what is there is read and compared before a write, and the number of the new version
/// tells whether somebody else wrote in between. Tags say which write the parameter's newest version comes from; they
/// belong to the whole parameter and can't be set by the write that replaces a value. Labels are left alone. See
/// https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-versions.html
package struct AWSSSMParameterBackend: Backend {
    package let traits: BackendTraits = Self.description.traits

    private let client: AWSJSONClient
    private let kmsKeyID: String?
    private let tier: String?

    init(_ parameters: Parameters, _ services: SystemServices) throws(SystemError) {
        client = try AWSJSONClient(ParameterStoreWire.service, parameters, services)
        kmsKeyID = parameters.string("kmsKeyId")
        tier = parameters.string("tier")
    }

    private typealias Wire = ParameterStoreWire

    package func stage(
        _ write: VersionWrite, at target: BackendTarget
    ) async throws(SystemError) -> StageResult {
        .deferred("a parameter shows its newest version at once; promoting writes it")
    }

    package func promote(_ write: VersionWrite, at target: BackendTarget) async throws(SystemError) -> Receipt {
        let present = try await parameter(target.path)
        if let present, present.Type != "SecureString" {
            throw SystemError(
                .conflict, "\(place(target)) is not a SecureString, and its type can't be changed",
                advice: "delete it there, or name another path")
        }
        let finding = try PromoteGuard.judge(
            present?.Value.map { SecretValue(utf8: $0) }, for: write, at: place(target))
        if case .done = finding, let present {
            try await mark(write, target, version: present.Version)
            return receipt(present.Version)
        }
        let version = try await put(write, target, over: present)
        try await confirmAlone(version, over: present, write, target)
        if present != nil { try await mark(write, target, version: version) }
        return receipt(version)
    }

    private func put(
        _ write: VersionWrite, _ target: BackendTarget, over present: Wire.Got.Payload?
    ) async throws(SystemError) -> Int {
        guard let text = write.value.exposedText() else {
            throw SystemError(.misconfigured, "the value is not UTF-8", advice: "use {{value|base64}} in a template")
        }
        let isNew = present == nil
        let question = Wire.Put(
            Name: target.path, Value: text, KeyId: kmsKeyID, Tier: tier, Overwrite: !isNew,
            Tags: isNew ? tags(write, version: 1) : nil, Description: isNew ? "Kept by Keyturn" : nil)
        do throws(SystemError) {
            return try await client.call("PutParameter", question, as: Wire.Written.self, mayRepeat: false).Version
        } catch {
            guard isNew, error.code == .conflict else { throw error }
            throw SystemError(
                .conflict, "\(place(target)) was made by somebody else at the same moment", disposition: .passing)
        }
    }

    /// Looks at what was written between the look and the write: it is hidden by ours.
    private func confirmAlone(
        _ version: Int, over present: Wire.Got.Payload?, _ write: VersionWrite, _ target: BackendTarget
    ) async throws(SystemError) {
        guard !write.mayOverwrite, let present, version > present.Version + 1 else { return }
        let between = try await parameter("\(target.path):\(version - 1)")?.Value.map { SecretValue(utf8: $0) }
        // An earlier try of ours may arrive late.
        guard let between, !between.matches(write.value) else { return }
        throw SystemError(
            .conflict,
            "\(place(target)): somebody else wrote version \(version - 1) at the same moment, and ours hides it",
            advice: "see who writes there; `keyturn resume` goes on with Keyturn's value")
    }

    package func read(
        _ selection: StoredSelection, at target: BackendTarget
    ) async throws(SystemError) -> StoredValue? {
        var name = target.path
        if case .version(let reference) = selection {
            guard let number = reference.receipt["parameterVersion"] else { return nil }
            name += ":\(number)"
        }
        guard let found = try await parameter(name), let text = found.Value else { return nil }
        return StoredValue(value: SecretValue(utf8: text), version: nil, receipt: receipt(found.Version))
    }

    package func mark(
        of secret: SecretName, instance: String, at target: BackendTarget
    ) async throws(SystemError) -> WriteMark? {
        guard let present = try await parameter(target.path, decrypted: false) else { return nil }
        let question = Wire.Resource(ResourceId: target.path)
        let list = try await client.call("ListTagsForResource", question, as: Wire.Tagged.self).TagList ?? []
        let tags = Dictionary(list.map { ($0.Key, $0.Value) }, uniquingKeysWith: { first, _ in first })
        guard tags["keyturn:parameter-version"] == String(present.Version), tags["keyturn:secret"] == secret.text,
            let instance = tags["keyturn:instance"], let version = tags["keyturn:version"].flatMap(Int.init)
        else { return nil }
        return WriteMark(
            instance: instance, generation: tags["keyturn:generation"].flatMap(Int.init), version: version)
    }

    package func unstage(_ version: VersionReference, at target: BackendTarget) async throws(SystemError) {}

    /// Versions can't be deleted: the service keeps the newest hundred.
    package func prune(_ version: VersionReference, at target: BackendTarget) async throws(SystemError) {}

    package func list(at target: BackendTarget) async throws(SystemError) -> [ListedVersion] {
        throw SystemError(.unsupported, "what an old version of a parameter comes from is not kept there")
    }

    package func probe(_ target: BackendTarget) async throws(SystemError) { _ = try await parameter(target.path) }

    // MARK: Pieces

    private func tags(_ write: VersionWrite, version: Int) -> [Wire.Tag] {
        [
            Wire.Tag(Key: "keyturn:secret", Value: write.secret.text),
            Wire.Tag(Key: "keyturn:version", Value: String(write.version)),
            Wire.Tag(Key: "keyturn:instance", Value: write.instance),
            Wire.Tag(Key: "keyturn:generation", Value: String(write.generation)),
            Wire.Tag(Key: "keyturn:parameter-version", Value: String(version)),
        ]
    }

    private func mark(_ write: VersionWrite, _ target: BackendTarget, version: Int) async throws(SystemError) {
        let question = Wire.Resource(ResourceId: target.path, Tags: tags(write, version: version))
        _ = try await client.call("AddTagsToResource", question, as: Wire.Empty.self)
    }

    /// - Parameter name: the parameter's, perhaps with `:VERSION`.
    private func parameter(
        _ name: String, decrypted: Bool = true
    ) async throws(SystemError) -> Wire.Got.Payload? {
        do throws(SystemError) {
            return try await client.call(
                "GetParameter", Wire.Get(Name: name, WithDecryption: decrypted), as: Wire.Got.self
            ).Parameter
        } catch {
            guard error.code != .notFound else { return nil }
            throw error
        }
    }

    private func receipt(_ version: Int) -> Receipt { ["parameterVersion": String(version)] }

    private func place(_ target: BackendTarget) -> String { "\(client.name), \(target.path)" }
}

extension AWSSSMParameterBackend {
    static let type = BackendType(description: description) { (_, parameters, services) throws(SystemError) in
        try AWSSSMParameterBackend(parameters, services)
    }

    static let description = BackendDescription(
        type: "aws-ssm-parameter", summary: "SecureStrings in Parameter Store of AWS Systems Manager.",
        configuration: ParameterSchema(
            AWSJSONClient.fields + [
                ParameterField("kmsKeyId", .string(), "The KMS key; the account's aws/ssm when absent."),
                ParameterField(
                    "tier", .choice(["Standard", "Advanced", "Intelligent-Tiering"]),
                    "The tier of parameters; the account's usual one when absent."),
            ], check: AWSJSONClient.regionProblems), target: ParameterSchema(),
        traits: BackendTraits(staging: .onPromote, readsBack: true, lists: false, destroys: false),
        checkPath: pathProblem)

    /// https://docs.aws.amazon.com/systems-manager/latest/userguide/sysman-paramstore-su-create.html
    @Sendable private static func pathProblem(_ path: String) -> String? {
        let allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789/_.-"
        guard (1...1011).contains(path.utf8.count), path.utf8.allSatisfy({ allowed.utf8.contains($0) }) else {
            return "AWS allows letters, digits and /_.- only, 1011 at most"
        }
        let levels = path.split(separator: "/", omittingEmptySubsequences: false)
        guard levels.count == 1 || levels[0].isEmpty else {
            return "a name with slashes begins with one; give it a path such as '/\(path)'"
        }
        guard !levels.dropFirst().contains(where: \.isEmpty), !(levels.count == 1 && levels[0].isEmpty) else {
            return "a name has no empty levels"
        }
        guard !levels.contains(where: { $0 == "." || $0 == ".." }) else { return "a name has no levels '.' and '..'" }
        guard levels.count <= 16 else { return "a name has 15 levels at most" }
        let first = (levels.first { !$0.isEmpty } ?? "").lowercased()
        guard !first.hasPrefix("aws"), !first.hasPrefix("ssm") else { return "AWS keeps 'aws' and 'ssm' for itself" }
        return nil
    }
}
