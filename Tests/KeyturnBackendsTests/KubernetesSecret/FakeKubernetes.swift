import Foundation
import KeyturnBackends
import KeyturnCore
import Synchronization
import TestSupport
import Testing

/// An API server with Secrets, as far as the backend asks: versions of objects, and one owner for each field.
final class FakeKubernetes: Sendable {
    struct Stored {
        /// Values in base64, and annotations, by their paths.
        var fields: [[String]: String] = [:]
        /// Who applied a field last; `nil` for what somebody wrote otherwise.
        var owners: [[String]: String] = [:]
        var version = 0
        var immutable = false

        mutating func write(_ key: String, _ text: String) {
            fields[["data", key]] = Data(text.utf8).base64EncodedString()
            owners[["data", key]] = nil
            version += 1
        }
    }

    struct State {
        /// By NAMESPACE/NAME.
        var secrets: [String: Stored] = [:]
        var denied: Set<String> = []
        /// Answers instead of the server, once.
        var next: (@Sendable (TestServer.Received, TestServer.Channel) -> TestServer.Afterwards?)?
        /// Is done before an apply is carried out, once.
        var beforeApply: (@Sendable (inout State) -> Void)?
    }

    let state = Mutex(State())
    private let server = Mutex<TestServer?>(nil)

    init() throws {
        let server = try TestServer { [weak self] request, channel in self?.serve(request, channel) ?? .close }
        self.server.withLock { $0 = server }
    }

    var address: String { server.withLock { $0?.url("") ?? "" } }
    var requests: [TestServer.Received] { server.withLock { $0?.received ?? [] } }

    /// A kubeconfig whose namespace is `payments`.
    func kubeconfig(user: String = "token: a-token") -> String {
        """
        apiVersion: v1
        kind: Config
        current-context: here
        contexts: [{name: here, context: {cluster: one, user: me, namespace: payments}}]
        clusters: [{name: one, cluster: {server: '\(address)'}}]
        users: [{name: me, user: {\(user)}}]
        """
    }

    func backend(_ folder: ScratchFolder) throws -> any Backend {
        let type = try #require(BackendRegistry.all.first { $0.description.type == "kubernetes-secret" })
        let file = try folder.write(kubeconfig(), to: "kubeconfig")
        return try type.make("kube", ["kubeconfig": .string(file)], try .forTests(folder))
    }

    func consumed(_ secret: String, _ key: String) -> String? {
        state.withLock { $0.secrets[secret]?.fields[["data", key]] }.flatMap { Data(base64Encoded: $0) }.map {
            String(decoding: $0, as: UTF8.self)
        }
    }

    private func serve(_ request: TestServer.Received, _ channel: TestServer.Channel) -> TestServer.Afterwards {
        let next = state.withLock { state in
            defer { state.next = nil }
            return state.next
        }
        if let next, let afterwards = next(request, channel) { return afterwards }
        let (status, body) = answer(request)
        channel.answer(status, body)
        return .keep
    }

    func answer(_ request: TestServer.Received) -> (Int, String) {
        guard request.all("Authorization").first == "Bearer a-token" else { return refusal(401, "Unauthorized") }
        let halves = request.target.split(separator: "?")
        let parts = halves.first.map { $0.split(separator: "/").map(String.init) } ?? []
        if parts.last == "selfsubjectaccessreviews" {
            let text = String(decoding: request.body, as: UTF8.self)
            let isDenied = state.withLock { $0.denied.contains { text.contains("\"verb\":\"\($0)\"") } }
            return (
                201,
                #"{"apiVersion":"v1","kind":"x","spec":{"resourceAttributes":{"namespace":"","verb":"","group":"","resource":""}},"status":{"allowed":\#(!isDenied)}}"#
            )
        }
        guard parts.count == 6, parts[4] == "secrets" else { return (404, "no such page") }
        let place = "\(parts[3])/\(parts[5])"
        return state.withLock { state in
            if request.method == "GET" {
                return state.secrets[place].map { (200, shown($0, place)) } ?? refusal(404, "NotFound")
            }
            let before = state.beforeApply
            state.beforeApply = nil
            before?(&state)
            return apply(request, String(halves.last ?? ""), place, &state)
        }
    }

    private func apply(
        _ request: TestServer.Received, _ query: String, _ place: String, _ state: inout State
    ) -> (Int, String) {
        guard request.method == "PATCH", request.all("Content-Type").first == "application/apply-patch+yaml",
            let wanted = (try? JSONSerialization.jsonObject(with: Data(request.body))) as? [String: Any],
            let metadata = wanted["metadata"] as? [String: Any]
        else { return refusal(415, "UnsupportedMediaType") }
        let manager = query.split(separator: "&").first { $0.hasPrefix("fieldManager=") }.map {
            String($0.dropFirst(13))
        }
        let isForced = query.contains("force=true")
        var stored = state.secrets[place] ?? Stored()
        if let version = metadata["resourceVersion"] as? String, version != String(stored.version) {
            return refusal(409, "Conflict")
        }
        var fields: [[String]: String] = [:]
        for (key, value) in wanted["data"] as? [String: String] ?? [:] { fields[["data", key]] = value }
        for (key, value) in metadata["annotations"] as? [String: String] ?? [:] {
            fields[["metadata", "annotations", key]] = value
        }
        if stored.immutable, fields.contains(where: { $0.key[0] == "data" && stored.fields[$0.key] != $0.value }) {
            return refusal(422, "Invalid")
        }
        for (path, value) in fields where stored.fields[path] != nil && stored.fields[path] != value {
            if stored.owners[path] != manager, !isForced {
                return refusal(409, "Conflict", cause: "FieldManagerConflict")
            }
        }
        // What the manager leaves out is taken away.
        for (path, owner) in stored.owners where owner == manager && fields[path] == nil {
            stored.fields[path] = nil
            stored.owners[path] = nil
        }
        for (path, value) in fields {
            stored.fields[path] = value
            stored.owners[path] = manager
        }
        stored.version += 1
        state.secrets[place] = stored
        return (200, shown(stored, place))
    }

    private func shown(_ stored: Stored, _ place: String) -> String {
        var data: [String: String] = [:]
        var annotations: [String: String] = [:]
        for (path, value) in stored.fields {
            if path[0] == "data" { data[path[1]] = value } else { annotations[path[2]] = value }
        }
        var managed: [[String: Any]] = []
        for (path, owner) in stored.owners where path[0] == "data" {
            managed.append([
                "manager": owner, "operation": "Apply",
                "fieldsV1": ["f:data": ["f:\(path[1])": [:] as [String: String]]],
            ])
        }
        let object: [String: Any] = [
            "kind": "Secret", "apiVersion": "v1", "data": data, "immutable": stored.immutable,
            "metadata": [
                "name": place, "resourceVersion": String(stored.version), "annotations": annotations,
                "managedFields": managed,
            ] as [String: Any],
        ]
        return (try? JSONSerialization.data(withJSONObject: object)).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }

    private func refusal(_ code: Int, _ reason: String, cause: String = "") -> (Int, String) {
        (
            code,
            #"{"kind":"Status","status":"Failure","reason":"\#(reason)","message":"CANARY","details":{"kind":"secrets","causes":[{"reason":"\#(cause)"}]}}"#
        )
    }
}
