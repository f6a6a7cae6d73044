import Crypto
import Foundation
package import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

/// One key of a Kubernetes Secret, `NAMESPACE/NAME#KEY`. Whoever reads the Secret sees the newest write, so that writing is
/// promoting.
///
/// A write is a server-side apply of that key and of an annotation beside it, on the version of the Secret that was
/// looked at: other keys, and who owns them, stay as they are. Each key has a field manager of its own, because what a
/// manager leaves out of a later apply is removed. See
/// https://kubernetes.io/docs/reference/using-api/server-side-apply/
package struct KubernetesSecretBackend: Backend {
    package let traits: BackendTraits = Self.description.traits

    private let client: KubernetesClient
    private let namespace: String?

    init(_ parameters: Parameters, _ services: SystemServices) throws(SystemError) {
        client = try KubernetesClient(parameters, services)
        namespace = parameters.string("namespace")
    }

    private typealias Wire = KubernetesWire

    private struct Place {
        let namespace: String
        let name: String
        let key: String
        let connection: KubernetesConnection

        var text: String { "Kubernetes, \(key) of Secret \(namespace)/\(name)" }
        var address: String { "/api/v1/namespaces/\(namespace)/secrets/\(name)" }

        /// At most 128 characters.
        var manager: String { "keyturn-\(short(120))" }
        /// At most 63 characters after the slash, the last one a letter or digit.
        var annotation: String { "keyturn.dev/\(short(63))" }

        private func short(_ length: Int) -> String {
            let isFine =
                key.utf8.count <= length && (key.first?.isLetter == true || key.first?.isNumber == true)
                && key.last != "." && key.last != "-"
                && key.last != "_"
            return isFine ? key : "sha256-\(SHA256.hash(data: Data(key.utf8)).prefix(16).hexadecimal)"
        }
    }

    package func stage(
        _ write: VersionWrite, at target: BackendTarget
    ) async throws(SystemError) -> StageResult {
        .deferred("a key of a Secret holds one value; promoting replaces it")
    }

    /// How often a write begins anew because another one of the same Secret came between.
    private static let tries = 8

    package func promote(_ write: VersionWrite, at target: BackendTarget) async throws(SystemError) -> Receipt {
        let place = try place(target)
        for _ in 1..<Self.tries {
            do throws(SystemError) { return try await promote(write, in: place) } catch {
                // Another key of the Secret, most likely; it is looked at anew.
                guard error.code == .conflict, error.disposition == .passing, !Task.isCancelled else { throw error }
            }
        }
        return try await promote(write, in: place)
    }

    private func promote(_ write: VersionWrite, in place: Place) async throws(SystemError) -> Receipt {
        let present = try await secret(place)
        let finding = try PromoteGuard.judge(try value(present, place), for: write, at: place.text)
        let mark = Wire.Mark(
            secret: write.secret.text, version: write.version, instance: write.instance, generation: write.generation)
        var isDone = false
        if case .done = finding {
            isDone = true
            if self.mark(present, place) == mark { return [:] }
        }
        guard present?.immutable != true else {
            // What is there already can't be marked, and serves all the same.
            if isDone { return [:] }
            throw SystemError(
                .conflict, "\(place.text): the Secret is immutable",
                advice: "delete it and let Keyturn make it anew, or name another one")
        }
        // An empty key waits for whoever fills it.
        let takesOver = write.mayOverwrite || present?.data?[place.key]?.isEmpty == true
        try await apply(write, mark, place, over: present, takesOver: takesOver)
        return [:]
    }

    private func apply(
        _ write: VersionWrite, _ mark: Wire.Mark, _ place: Place, over present: Wire.Secret?, takesOver: Bool
    ) async throws(SystemError) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let words = try? encoder.encode(mark) else { throw SystemError(.local, "JSON can't be written") }
        let wanted = Wire.Apply(
            metadata: .init(
                name: place.name, namespace: place.namespace, resourceVersion: present?.metadata.resourceVersion,
                annotations: [place.annotation: String(decoding: words, as: UTF8.self)]),
            data: [place.key: Data(write.value.exposedBytes()).base64EncodedString()])
        let answer = try await client.call(
            "PATCH", "\(place.address)?fieldManager=\(FormBody.escape(place.manager))&force=\(takesOver)",
            body: try JSONBody.encode(wanted), type: "application/apply-patch+yaml", over: place.connection)
        guard let stored = answer.decodeJSON(Wire.Secret.self), stored.kind == "Secret",
            try value(stored, place)?.matches(write.value) == true
        else {
            throw SystemError(
                .badAnswer, "\(client.name): the write was not answered as it should be", mayHaveTakenEffect: true)
        }
    }

    package func read(
        _ selection: StoredSelection, at target: BackendTarget
    ) async throws(SystemError) -> StoredValue? {
        guard case .current = selection else {
            throw SystemError(.unsupported, "a key of a Secret holds only its current value")
        }
        let place = try place(target)
        let present = try await secret(place)
        return try value(present, place).map {
            StoredValue(value: $0, version: mark(present, place)?.version, receipt: [:])
        }
    }

    package func mark(
        of secret: SecretName, instance: String, at target: BackendTarget
    ) async throws(SystemError) -> WriteMark? {
        let place = try place(target)
        guard let mark = mark(try await self.secret(place), place), mark.secret == secret.text else { return nil }
        return WriteMark(instance: mark.instance, generation: mark.generation, version: mark.version)
    }

    package func unstage(_ version: VersionReference, at target: BackendTarget) async throws(SystemError) {}

    package func prune(_ version: VersionReference, at target: BackendTarget) async throws(SystemError) {}

    package func list(at target: BackendTarget) async throws(SystemError) -> [ListedVersion] {
        throw SystemError(.unsupported, "a key of a Secret holds only its current value")
    }

    package func probe(_ target: BackendTarget) async throws(SystemError) {
        let place = try place(target)
        let present = try await secret(place)
        _ = try value(present, place)
        // An apply that makes a Secret needs both.
        for verb in present == nil ? ["patch", "create"] : ["patch"] {
            let review = Wire.AccessReview(
                spec: .init(
                    resourceAttributes: .init(
                        namespace: place.namespace, verb: verb, name: verb == "create" ? nil : place.name)))
            let answer = try await client.call(
                "POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body: try JSONBody.encode(review),
                over: place.connection)
            guard let outcome = answer.decodeJSON(Wire.AccessReview.self)?.status else {
                throw SystemError(.badAnswer, "\(client.name): the question for our rights was not answered")
            }
            guard outcome.allowed else {
                throw SystemError(
                    .forbidden, "\(client.name): our account may not \(verb) secrets in \(place.namespace)",
                    advice: "give it the rights in deploy/rights/kubernetes-secret.yaml")
            }
        }
    }

    // MARK: Pieces

    private func secret(_ place: Place) async throws(SystemError) -> Wire.Secret? {
        let answer = try await client.call("GET", place.address, over: place.connection, mayBeMissing: true)
        guard answer.status != 404 else { return nil }
        guard let secret = answer.decodeJSON(Wire.Secret.self), secret.kind == "Secret" else {
            throw SystemError(.badAnswer, "\(client.name): the answer is not a Secret")
        }
        return secret
    }

    /// An empty key is one that waits for its first value.
    private func value(_ secret: Wire.Secret?, _ place: Place) throws(SystemError) -> SecretValue? {
        guard let encoded = secret?.data?[place.key] else { return nil }
        guard let data = Data(base64Encoded: encoded) else {
            throw SystemError(.badAnswer, "\(client.name): the value is not base64")
        }
        return data.isEmpty ? nil : SecretValue(data)
    }

    /// The annotation of the key, as long as the key is still what our own manager applied: whoever else writes it takes
    /// it over.
    private func mark(_ secret: Wire.Secret?, _ place: Place) -> Wire.Mark? {
        guard let metadata = secret?.metadata, let words = metadata.annotations?[place.annotation],
            let mark = try? JSONDecoder().decode(Wire.Mark.self, from: Data(words.utf8))
        else { return nil }
        let isOurs = (metadata.managedFields ?? []).contains { fields in
            guard fields.manager == place.manager, fields.operation == "Apply", case .object(let all) = fields.fieldsV1,
                case .object(let keys) = all["f:data"]
            else { return false }
            return keys["f:\(place.key)"] != nil
        }
        return isOurs ? mark : nil
    }

    private func place(_ target: BackendTarget) throws(SystemError) -> Place {
        if let reason = Self.problem(target.path) {
            throw SystemError(.misconfigured, "the path of a key is not allowed: \(reason)")
        }
        let connection = try client.connection()
        let parts = Self.parts(target.path)
        return Place(
            namespace: parts.namespace ?? namespace ?? connection.namespace ?? "default", name: parts.name,
            key: parts.key, connection: connection)
    }

    private static func parts(_ path: String) -> (namespace: String?, name: String, key: String) {
        guard let sign = path.lastIndex(of: "#") else { return (nil, path, "") }
        let key = String(path[path.index(after: sign)...])
        guard let slash = path[..<sign].firstIndex(of: "/") else { return (nil, String(path[..<sign]), key) }
        return (String(path[..<slash]), String(path[path.index(after: slash)..<sign]), key)
    }

    /// https://kubernetes.io/docs/concepts/overview/working-with-objects/names/
    @Sendable fileprivate static func problem(_ path: String) -> String? {
        let (namespace, name, key) = parts(path)
        guard !key.isEmpty else { return "it is NAMESPACE/NAME#KEY or NAME#KEY, such as payments/gateway#api-key" }
        if let namespace, !isName(namespace, mayHoldDots: false, longest: 63) {
            return "a namespace holds lower-case letters, digits and '-', 63 at most"
        }
        guard isName(name, mayHoldDots: true, longest: 253) else {
            return "the name of a Secret holds lower-case letters, digits, '-' and '.', 253 at most"
        }
        let allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._"
        guard key.utf8.count <= 253, key.utf8.allSatisfy({ allowed.utf8.contains($0) }), key != ".", key != ".." else {
            return "a key holds letters, digits, '-', '_' and '.', 253 at most"
        }
        return nil
    }

    private static func isName(_ text: String, mayHoldDots: Bool, longest: Int) -> Bool {
        guard (1...longest).contains(text.utf8.count) else { return false }
        let allowed = "abcdefghijklmnopqrstuvwxyz0123456789-"
        return text.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
            !label.isEmpty && label.utf8.allSatisfy { allowed.utf8.contains($0) } && label.first != "-"
                && label.last != "-"
        } && (mayHoldDots || !text.contains("."))
    }
}

extension KubernetesSecretBackend {
    static let type = BackendType(description: description) { (_, parameters, services) throws(SystemError) in
        try KubernetesSecretBackend(parameters, services)
    }

    static let description = BackendDescription(
        type: "kubernetes-secret", summary: "Keys of Kubernetes Secrets.",
        configuration: ParameterSchema([
            ParameterField(
                "kubeconfig", .path, "The kubeconfig; in a pod its service account when absent, else $KUBECONFIG."),
            ParameterField("context", .string(), "The kubeconfig's context; its current one when absent."),
            ParameterField("namespace", .string(), "The namespace of paths that name none; the login's when absent."),
            ParameterField(
                "serviceAccount", .path, "The folder of a pod's token, ca.crt and namespace, in place of the usual."),
            ParameterField("timeout", .duration(1...300), default: .integer(30), "How long one request may take."),
            TLSSettings.allowInsecure,
        ]), target: ParameterSchema(),
        traits: BackendTraits(staging: .onPromote, readsBack: true, lists: false, destroys: false),
        checkPath: problem)
}
