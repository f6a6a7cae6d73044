import Foundation
package import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

/// KV version 2 of Vault and OpenBao. The newest write is what readers get, so writing is promoting; every write names
/// the version that it replaces (`cas`), so that none happens twice and none overwrites another's.
package struct VaultKV2Backend: Backend {
    package let traits: BackendTraits = Self.description.traits

    private let client: VaultClient
    private let mount: String
    private let field: String

    init(_ parameters: Parameters, _ services: SystemServices) throws(SystemError) {
        client = try VaultClient(parameters, services)
        mount = parameters.string("mount") ?? "secret"
        field = parameters.string("field") ?? "value"
    }

    package func normalized(
        _ value: SecretValue, at target: BackendTarget
    ) throws(SystemError) -> SecretValue {
        guard target.parameters.string("format") == "json" else { return value }
        return try Self.canonical(try data(value, target))
    }

    package func stage(
        _ write: VersionWrite, at target: BackendTarget
    ) async throws(SystemError) -> StageResult {
        .deferred("KV version 2 shows the newest write at once; promoting writes it")
    }

    package func promote(_ write: VersionWrite, at target: BackendTarget) async throws(SystemError) -> Receipt {
        let metadata = try await metadata(target)
        let present = try await stored(target, version: nil)
        let finding = try PromoteGuard.judge(
            present?.value, for: write, at: "\(client.name), \(mount)/\(target.path)")
        let number: Int
        if case .done = finding, let present {
            number = present.number
        } else {
            number = try await put(write, target, replacing: metadata?.current_version ?? 0)
        }
        try await mark(write, target, number: number, known: metadata?.custom_metadata ?? [:])
        return receipt(write.receipt, number)
    }

    /// A version that is written again, after another one was current, has several numbers there; all are to be destroyed.
    private func receipt(_ known: Receipt, _ number: Int) -> Receipt {
        var receipt = ["kvVersion": String(number)]
        let earlier = (known["kvEarlier"].map { $0.split(separator: " ").map(String.init) } ?? [])
        let numbers = (earlier + [known["kvVersion"]].compactMap { $0 }).filter { $0 != receipt["kvVersion"] }
        if !numbers.isEmpty { receipt["kvEarlier"] = numbers.joined(separator: " ") }
        return receipt
    }

    private func put(
        _ write: VersionWrite, _ target: BackendTarget, replacing current: Int
    ) async throws(SystemError) -> Int {
        let body = VaultKV2Wire.Write(data: try data(write.value, target), options: .init(cas: current))
        let answer = try await client.call(
            "POST", "\(mount)/data/\(encoded(target.path))", body: try JSONBody.encode(body))
        guard let written = answer.json(VaultKV2Wire.Written.self) else {
            throw SystemError(
                .badAnswer, "\(client.name): the write was not answered as it should be", mayHaveTakenEffect: true)
        }
        return written.data.version
    }

    /// Writes our marks beside the key: they belong to the whole key, not to a version of it.
    private func mark(
        _ write: VersionWrite, _ target: BackendTarget, number: Int, known: [String: String]
    ) async throws(SystemError) {
        var marks = known
        marks["keyturn-secret"] = write.secret.text
        marks["keyturn-version"] = String(write.version)
        marks["keyturn-instance"] = write.instance
        marks["keyturn-generation"] = String(write.generation)
        marks["keyturn-kv-version"] = String(number)
        guard marks != known else { return }
        let body = try JSONBody.encode(VaultKV2Wire.MetadataWrite(custom_metadata: marks))
        _ = try await client.call("POST", "\(mount)/metadata/\(encoded(target.path))", body: body)
    }

    package func read(
        _ selection: StoredSelection, at target: BackendTarget
    ) async throws(SystemError) -> StoredValue? {
        var version: Int?
        if case .version(let reference) = selection {
            guard let number = reference.receipt["kvVersion"].flatMap(Int.init) else { return nil }
            version = number
        }
        return try await stored(target, version: version).map {
            StoredValue(value: $0.value, version: nil, receipt: ["kvVersion": String($0.number)])
        }
    }

    package func mark(
        of secret: SecretName, instance: String, at target: BackendTarget
    ) async throws(SystemError) -> WriteMark? {
        guard let metadata = try await metadata(target), let marks = metadata.custom_metadata,
            marks["keyturn-kv-version"] == String(metadata.current_version), marks["keyturn-secret"] == secret.text,
            let instance = marks["keyturn-instance"], let version = marks["keyturn-version"].flatMap(Int.init)
        else { return nil }
        return WriteMark(
            instance: instance, generation: marks["keyturn-generation"].flatMap(Int.init), version: version)
    }

    package func unstage(_ version: VersionReference, at target: BackendTarget) async throws(SystemError) {}

    package func prune(_ version: VersionReference, at target: BackendTarget) async throws(SystemError) {
        let words = [version.receipt["kvEarlier"], version.receipt["kvVersion"]].compactMap { $0 }.joined(
            separator: " ")
        let numbers = words.split(separator: " ").compactMap { Int($0) }
        guard !numbers.isEmpty, let metadata = try await metadata(target) else { return }
        let old = numbers.filter {
            metadata.current_version != $0 && metadata.versions?[String($0)]?.destroyed == false
        }
        guard !old.isEmpty else { return }
        let body = try JSONBody.encode(VaultKV2Wire.Destroy(versions: old))
        _ = try await client.call("POST", "\(mount)/destroy/\(encoded(target.path))", body: body)
    }

    package func list(at target: BackendTarget) async throws(SystemError) -> [ListedVersion] {
        guard let metadata = try await metadata(target) else { return [] }
        let marked = metadata.custom_metadata?["keyturn-kv-version"].flatMap(Int.init)
        let ours = metadata.custom_metadata?["keyturn-version"].flatMap(Int.init)
        return (metadata.versions ?? [:]).filter { $0.value.destroyed != true }.compactMap { Int($0.key) }.sorted().map
        {
            ListedVersion(
                identifier: String($0), version: $0 == marked ? ours : nil, isCurrent: $0 == metadata.current_version,
                receipt: ["kvVersion": String($0)])
        }
    }

    package func probe(_ target: BackendTarget) async throws(SystemError) {
        let mountAnswer: VaultClient.Answer
        do throws(SystemError) {
            mountAnswer = try await client.call(
                "GET", "sys/internal/ui/mounts/\(encoded(mount))", mayBeMissing: true)
        } catch {
            guard error.code == .forbidden else { throw error }
            // The server does not tell a mount that is missing from one that we may not see.
            throw SystemError(
                .forbidden, "\(client.name): there is no mount '\(mount)', or our token may not see it",
                advice: "check `mount`, the token and its policy; the documentation lists the least rights")
        }
        guard mountAnswer.status == 200, let engine = mountAnswer.json(VaultKV2Wire.Mount.self) else {
            throw SystemError(.notFound, "\(client.name): there is no mount '\(mount)', or we may not see it")
        }
        guard engine.data.type == "kv", engine.data.options?["version"] == "2" else {
            throw SystemError(
                .misconfigured, "\(client.name): mount '\(mount)' is not a KV version 2 engine",
                advice: "name another mount, or upgrade it with `vault kv enable-versioning`")
        }
        let path = "\(mount)/data/\(target.path)"
        let answer = try await client.call(
            "POST", "sys/capabilities-self", body: try JSONBody.encode(VaultKV2Wire.Ask(paths: [path])))
        let known = answer.json(VaultKV2Wire.Capabilities.self)
        guard let capabilities = known?.data?.capabilities ?? known?.capabilities else { return }
        let needed: Set<String> = ["create", "read", "update"]
        guard capabilities.contains("root") || needed.isSubset(of: capabilities) else {
            throw SystemError(
                .forbidden, "\(client.name): our token may not read and write \(path)",
                advice: "give it create, read and update there")
        }
    }

    private func metadata(_ target: BackendTarget) async throws(SystemError) -> VaultKV2Wire.Metadata.Payload? {
        let answer = try await client.call("GET", "\(mount)/metadata/\(encoded(target.path))", mayBeMissing: true)
        guard answer.status != 404 else { return nil }
        guard let metadata = answer.json(VaultKV2Wire.Metadata.self) else {
            throw SystemError(.badAnswer, "\(client.name): the metadata is not what KV version 2 answers")
        }
        return metadata.data
    }

    /// A version that can be read, with the server's number for it.
    private func stored(
        _ target: BackendTarget, version: Int?
    ) async throws(SystemError) -> (value: SecretValue, number: Int)? {
        let query = version.map { "?version=\($0)" } ?? ""
        let answer = try await client.call(
            "GET", "\(mount)/data/\(encoded(target.path))\(query)", mayBeMissing: true)
        // A deleted version is answered with 404 and its metadata.
        guard answer.status != 404 else { return nil }
        guard let read = answer.json(VaultKV2Wire.Read.self) else {
            throw SystemError(.badAnswer, "\(client.name): the answer is not what KV version 2 answers")
        }
        guard !read.data.metadata.isGone, let data = read.data.data else { return nil }
        return (try value(data, target), read.data.metadata.version)
    }

    /// The map that is stored: one field, or the members of the rendered JSON object.
    private func data(_ value: SecretValue, _ target: BackendTarget) throws(SystemError) -> [String: JSONValue] {
        if target.parameters.string("format") == "json" {
            let object = value.withUnsafeBytes { try? JSONDecoder().decode([String: JSONValue].self, from: Data($0)) }
            guard let object else {
                throw SystemError(
                    .misconfigured,
                    "the value for \(mount)/\(target.path) is not a JSON object, as `format: json` needs",
                    advice: "give the backend a template such as '{\"key\": \"{{value}}\"}'")
            }
            guard JSONValue.object(object).survivesDoubles else {
                throw SystemError(
                    .misconfigured, "the value for \(mount)/\(target.path) holds a number that the server would round",
                    advice: "put it in quotes in the template, so that it is stored as text")
            }
            return object
        }
        guard let text = value.exposedText() else {
            throw SystemError(.misconfigured, "the value is not UTF-8", advice: "use {{value|base64}} in a template")
        }
        return [target.parameters.string("field") ?? field: .string(text)]
    }

    /// The stored map in the form of the value that was written.
    private func value(_ data: [String: JSONValue], _ target: BackendTarget) throws(SystemError) -> SecretValue {
        if target.parameters.string("format") != "json", data.count == 1,
            case .string(let text) = data[target.parameters.string("field") ?? field]
        {
            return SecretValue(utf8: text)
        }
        return try Self.canonical(data)
    }

    static func canonical(_ data: [String: JSONValue]) throws(SystemError) -> SecretValue {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let bytes = try? encoder.encode(data) else { throw SystemError(.local, "JSON can't be written") }
        return SecretValue(bytes)
    }

    private func encoded(_ path: String) -> String {
        path.addingPercentEncoding(withAllowedCharacters: Self.pathCharacters) ?? path
    }

    private static let pathCharacters = CharacterSet(
        charactersIn: "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/")
}

extension VaultKV2Backend {
    static let type = BackendType(description: description) { (_, parameters, services) throws(SystemError) in
        try VaultKV2Backend(parameters, services)
    }

    static let description = BackendDescription(
        type: "vault-kv2", summary: "KV version 2 of HashiCorp Vault or OpenBao.",
        configuration: ParameterSchema(
            [
                ParameterField("address", .url, required: true, "The server, such as https://vault:8200."),
                ParameterField("mount", .string(), default: .string("secret"), "Where the engine is mounted."),
                ParameterField("namespace", .string(), "The namespace, such as team/."),
                ParameterField(
                    "auth", .object(VaultLogin.schema), required: true,
                    "How to log in: token, appRole, kubernetes or jwt."),
                ParameterField(
                    "field", .string(), default: .string("value"),
                    "The field that holds a value without `format: json`."),
                ParameterField("timeout", .duration(1...300), default: .integer(30), "How long one request may take."),
                TLSSettings.caFile,
                ParameterField("certificateFile", .path, "PEM file of our client certificate."),
                ParameterField("keyFile", .path, "PEM file of its key."),
                TLSSettings.allowInsecure,
            ], check: certificateProblems),
        target: ParameterSchema([
            ParameterField("field", .string(), "The field that holds the value, in place of the backend's."),
            ParameterField(
                "format", .choice(["text", "json"]), "json: the members of the rendered JSON object become the fields."),
        ]),
        traits: BackendTraits(staging: .onPromote, readsBack: true, lists: true, destroys: true)
    ) { path in
        if path.utf8.contains(where: { $0 < 0x20 || $0 == 0x7F }) { return "it holds a control character" }
        return path.split(separator: "/", omittingEmptySubsequences: false)
            .contains { $0.isEmpty || $0 == "." || $0 == ".." } ? "it may not hold empty, '.' or '..' segments" : nil
    }

    @Sendable private static func certificateProblems(
        _ parameters: Parameters, _ environment: [String: String]
    ) -> [ParameterProblem] {
        switch (parameters["certificateFile"], parameters["keyFile"]) {
        case (_?, nil): [ParameterProblem(path: ["certificateFile"], message: "'certificateFile' needs 'keyFile'")]
        case (nil, _?): [ParameterProblem(path: ["keyFile"], message: "'keyFile' needs 'certificateFile'")]
        default: []
        }
    }
}
