import CSodium
import Foundation
import KeyturnBackends
import KeyturnCore
import Synchronization
import TestSupport
import Testing

/// GitHub's interface for secrets and variables of Actions, which opens what it is given as GitHub does.
final class FakeGitHub: Sendable {
    struct Stored {
        var value: String
        var changed: Int
        var visibility: String?
        var repositories: [Int] = []
    }

    struct State {
        /// By the path of the secret.
        var secrets: [String: Stored] = [:]
        var variables: [String: [String: String]] = [:]
        var now = 0
        var keyNumber = 1
        /// Answers instead of the server, once.
        var next: (@Sendable (TestServer.Received, TestServer.Channel) -> TestServer.Afterwards?)?

        mutating func write(_ path: String, _ value: String) {
            now += 1
            secrets[path, default: Stored(value: "", changed: 0)].value = value
            secrets[path]?.changed = now
        }
    }

    let state = Mutex(State())
    let publicKey: [UInt8]
    private let privateKey: [UInt8]
    private let server = Mutex<TestServer?>(nil)

    init() throws {
        guard sodium_init() >= 0 else { throw CocoaError(.featureUnsupported) }
        var (open, closed) = ([UInt8](repeating: 0, count: 32), [UInt8](repeating: 0, count: 32))
        crypto_box_keypair(&open, &closed)
        (publicKey, privateKey) = (open, closed)
        let server = try TestServer { [weak self] request, channel in self?.serve(request, channel) ?? .close }
        self.server.withLock { $0 = server }
    }

    var address: String { server.withLock { $0?.url("") ?? "" } }
    var requests: [TestServer.Received] { server.withLock { $0?.received ?? [] } }

    func backend(_ folder: ScratchFolder) throws -> any Backend {
        let type = try #require(BackendRegistry.all.first { $0.description.type == "github-actions-secret" })
        return try type.make(
            "github", ["address": .string(address), "token": .secret(.environment("GITHUB_PAT"))],
            try .forTests(folder, environment: ["GITHUB_PAT": "a-token"]))
    }

    func secret(_ path: String) -> Stored? { state.withLock { $0.secrets[path] } }

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
        guard request.all("Authorization").first == "Bearer a-token", !request.all("User-Agent").isEmpty,
            request.all("X-GitHub-Api-Version").first == "2022-11-28"
        else { return (401, #"{"message":"CANARY"}"#) }
        let path = String(request.target.split(separator: "?")[0])
        let object = (try? JSONSerialization.jsonObject(with: Data(request.body))) as? [String: Any] ?? [:]
        return state.withLock { state in
            if path.hasSuffix("/secrets/public-key") {
                return (200, json(["key_id": "\(state.keyNumber)", "key": Data(publicKey).base64EncodedString()]))
            }
            if path.hasSuffix("/repositories"), let stored = state.secrets[String(path.dropLast("/repositories".count))]
            {
                // One a page.
                let page = Int(request.target.split(separator: "=").last ?? "") ?? 1
                let ids = stored.repositories.dropFirst(page - 1).prefix(1).map { ["id": $0] }
                return (200, json(["total_count": stored.repositories.count, "repositories": ids] as [String: Any]))
            }
            return path.contains("/secrets/")
                ? secret(request.method, path, object, &state) : variable(request.method, path, object, &state)
        }
    }

    private func secret(_ method: String, _ path: String, _ object: [String: Any], _ state: inout State) -> (
        Int, String
    ) {
        if method == "GET" {
            guard let stored = state.secrets[path] else { return (404, #"{"message":"Not Found"}"#) }
            var about: [String: Any] = ["name": "x", "updated_at": "2027-01-01T00:\(stored.changed)Z"]
            about["visibility"] = stored.visibility
            return (200, json(about))
        }
        guard object["key_id"] as? String == String(state.keyNumber), let text = object["encrypted_value"] as? String,
            let box = Data(base64Encoded: text), box.count >= crypto_box_sealbytes()
        else { return (422, #"{"message":"CANARY"}"#) }
        var opened = [UInt8](repeating: 0, count: box.count - crypto_box_sealbytes())
        guard crypto_box_seal_open(&opened, Array(box), UInt64(box.count), publicKey, privateKey) == 0 else {
            return (422, #"{"message":"CANARY"}"#)
        }
        let isNew = state.secrets[path] == nil
        state.write(path, String(decoding: opened, as: UTF8.self))
        state.secrets[path]?.visibility = object["visibility"] as? String
        state.secrets[path]?.repositories = object["selected_repository_ids"] as? [Int] ?? []
        return isNew ? (201, "{}") : (204, "")
    }

    private func variable(
        _ method: String, _ path: String, _ object: [String: Any], _ state: inout State
    ) -> (Int, String) {
        let value = object["value"] as? String ?? ""
        let name = object["name"] as? String ?? ""
        switch method {
        case "GET" where path.hasSuffix("/variables"): return (200, #"{"total_count":0,"variables":[]}"#)
        case "GET":
            guard let stored = state.variables[path] else { return (404, #"{"message":"Not Found"}"#) }
            return (200, json(stored))
        case "POST":
            guard state.variables["\(path)/\(name)"] == nil else { return (409, #"{"message":"CANARY"}"#) }
            state.variables["\(path)/\(name)"] = [
                "name": name, "value": value, "visibility": object["visibility"] as? String ?? "",
            ]
            return (201, "{}")
        default:
            guard state.variables[path] != nil else { return (404, "{}") }
            state.variables[path]?["value"] = value
            return (204, "")
        }
    }

    private func json(_ object: Any) -> String {
        (try? JSONSerialization.data(withJSONObject: object)).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }
}
