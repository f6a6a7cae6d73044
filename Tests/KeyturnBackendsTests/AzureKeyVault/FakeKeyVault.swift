import Foundation
import KeyturnBackends
import KeyturnCore
import Synchronization
import TestSupport
import Testing

/// A key vault as its documentation describes it, with a hand of others in it.
final class FakeKeyVault: Sendable {
    struct Version {
        let id: String
        let value: String
        var enabled = true
        var exp: Int64?
        var created: Int64
        var tags: [String: String] = [:]
        var contentType: String?
        var managed = false
    }

    struct State {
        var secrets: [String: [Version]] = [:]
        var deleted: Set<String> = []
        var now: Int64 = 1_800_000_000
        var number = 0
        /// Answers instead of the vault, once.
        var next: (@Sendable (TestServer.Received, TestServer.Channel) -> TestServer.Afterwards?)?
        /// Is done before a PUT is carried out.
        var beforeWrite: (@Sendable (inout State) -> Void)?
        var pageSize = 25
        var foreignLink = false

        mutating func write(
            _ name: String, _ value: String, tags: [String: String] = [:], exp: Int64? = nil,
            contentType: String? = nil
        ) {
            number += 1
            // As the service's ids: in no order.
            let id = String(format: "%08x", (number &* 0x9E37_79B1) & 0xFFFF_FFFF) + String(repeating: "0", count: 24)
            secrets[name, default: []].append(
                Version(id: id, value: value, exp: exp, created: now, tags: tags, contentType: contentType))
        }
    }

    static let resource = "https://vault.azure.net"

    let entra = FakeEntra()
    let state = Mutex(State())
    private let server = Mutex<TestServer?>(nil)

    init() throws {
        let server = try TestServer { [weak self] request, channel in self?.serve(request, channel) ?? .close }
        self.server.withLock { $0 = server }
    }

    var address: String { server.withLock { $0?.url("") ?? "" } }
    var requests: [TestServer.Received] { server.withLock { $0?.received ?? [] } }

    var parameters: Parameters {
        [
            "vault": .string(address), "resource": .string(Self.resource),
            "auth": .map([
                "clientSecret": .map([
                    "tenantId": .string(FakeEntra.tenant), "clientId": .string(FakeEntra.clientID),
                    "secret": .secret(.environment("AZURE_SECRET")),
                ]), "authorityHost": .string(address),
            ]),
        ]
    }

    func backend(_ folder: ScratchFolder, _ more: Parameters = [:]) throws -> any Backend {
        let type = try #require(BackendRegistry.all.first { $0.description.type == "azure-key-vault" })
        return try type.make(
            "vault", parameters.merging(more) { _, new in new },
            try .forTests(folder, environment: ["AZURE_SECRET": FakeEntra.secret]))
    }

    func versions(_ name: String) -> [Version] { state.withLock { $0.secrets[name] ?? [] } }

    /// What a consumer gets: the newest, and nothing in its place when that is disabled.
    func consumed(_ name: String) -> String? {
        versions(name).last.flatMap { $0.enabled ? $0.value : nil }
    }

    private func serve(_ request: TestServer.Received, _ channel: TestServer.Channel) -> TestServer.Afterwards {
        if entra.serve(request, channel) { return .keep }
        guard entra.admits(request, to: Self.resource) else {
            let authority = "https://login.microsoftonline.com/\(FakeEntra.tenant)"
            channel.answer(
                401, #"{"error":{"code":"Unauthorized","message":"CANARY"}}"#,
                headers: [
                    #"WWW-Authenticate: Bearer authorization="\#(authority)", resource="\#(Self.resource)""#
                ])
            return .keep
        }
        let replacement = state.withLock { state in
            defer { state.next = nil }
            return state.next
        }
        if let replacement, let then = replacement(request, channel) { return then }
        let (status, body) = answer(request)
        channel.answer(status, body)
        return .keep
    }

    /// Carries a request out.
    func answer(_ request: TestServer.Received) -> (Int, String) {
        let halves = request.target.split(separator: "?", maxSplits: 1)
        let query = halves.count > 1 ? String(halves[1]) : ""
        guard query.contains("api-version=7.4") else { return (400, error("BadParameter")) }
        let path = (halves.first ?? "").split(separator: "/").map(String.init)
        let body = (try? JSONSerialization.jsonObject(with: Data(request.body))) as? [String: Any] ?? [:]
        return state.withLock { state in
            switch (request.method, path.first, path.count) {
            case ("GET", "deletedsecrets", 2):
                return state.deleted.contains(path[1]) ? (200, "{}") : (404, error("SecretNotFound"))
            case ("PUT", "secrets", 2):
                if state.deleted.contains(path[1]) { return (409, error("Conflict", "ObjectIsDeletedButRecoverable")) }
                if let hook = state.beforeWrite {
                    state.beforeWrite = nil
                    hook(&state)
                }
                let attributes = body["attributes"] as? [String: Any]
                state.write(
                    path[1], body["value"] as? String ?? "", tags: body["tags"] as? [String: String] ?? [:],
                    exp: (attributes?["exp"] as? NSNumber)?.int64Value, contentType: body["contentType"] as? String)
                return (200, bundle(path[1], state.secrets[path[1]]?.last, withValue: true))
            case ("GET", "secrets", 3) where path[2] == "versions": return page(path[1], query, state)
            case ("GET", "secrets", 2), ("GET", "secrets", 3):
                let all = state.secrets[path[1]] ?? []
                let found = path.count == 2 ? all.last : all.first { $0.id == path[2] }
                guard let found else { return (404, error("SecretNotFound")) }
                guard found.enabled else { return (403, error("Forbidden", "SecretDisabled")) }
                return (200, bundle(path[1], found, withValue: true))
            case ("PATCH", "secrets", 3):
                guard let index = state.secrets[path[1]]?.firstIndex(where: { $0.id == path[2] }) else {
                    return (404, error("SecretNotFound"))
                }
                if let tags = body["tags"] as? [String: String] { state.secrets[path[1]]?[index].tags = tags }
                if let attributes = body["attributes"] as? [String: Any], let enabled = attributes["enabled"] as? Bool {
                    state.secrets[path[1]]?[index].enabled = enabled
                }
                return (200, bundle(path[1], state.secrets[path[1]]?[index], withValue: false))
            default: return (400, error("BadParameter"))
            }
        }
    }

    private func page(_ name: String, _ query: String, _ state: State) -> (Int, String) {
        guard let all = state.secrets[name] else { return (404, error("SecretNotFound")) }
        let sorted = all.sorted { $0.id < $1.id }
        let start =
            query.split(separator: "&").first { $0.hasPrefix("$skiptoken=") }
            .flatMap { Int($0.dropFirst("$skiptoken=".count)) } ?? 0
        let part = sorted.dropFirst(start).prefix(state.pageSize)
        let items = part.map { bundle(name, $0, withValue: false) }.joined(separator: ",")
        let host = state.foreignLink ? "http://127.0.0.1:1" : address
        let link =
            start + part.count < sorted.count
            ? #""\#(host)/secrets/\#(name)/versions?api-version=7.4&$skiptoken=\#(start + part.count)""# : "null"
        return (200, #"{"value":[\#(items)],"nextLink":\#(link)}"#)
    }

    private func error(_ code: String, _ inner: String? = nil) -> String {
        let more = inner.map { #","innererror":{"code":"\#($0)"}"# } ?? ""
        return #"{"error":{"code":"\#(code)","message":"CANARY"\#(more)}}"#
    }

    private func bundle(_ name: String, _ version: Version?, withValue: Bool) -> String {
        guard let version else { return "{}" }
        var attributes: [String: Any] = [
            "enabled": version.enabled, "created": version.created, "updated": version.created,
            "recoveryLevel": "Recoverable+Purgeable", "recoverableDays": 90,
        ]
        if let exp = version.exp { attributes["exp"] = exp }
        var all: [String: Any] = [
            "id": "\(address)/secrets/\(name)/\(version.id)", "attributes": attributes, "tags": version.tags,
        ]
        if withValue { all["value"] = version.value }
        if let type = version.contentType { all["contentType"] = type }
        if version.managed { all["managed"] = true }
        let data = (try? JSONSerialization.data(withJSONObject: all)) ?? Data()
        return String(decoding: data, as: UTF8.self)
    }
}
