import Foundation
import KeyturnBackends
import KeyturnCore
import Synchronization
import TestSupport
import Testing

/// Secret Manager as its documentation describes it, with a hand of others in it.
final class FakeSecretManager: Sendable {
    struct Version {
        let number: Int
        var value: String
        var sum: String
        var state = "ENABLED"
        var etag = 1
    }

    struct Secret {
        var versions: [Version] = []
        var annotations: [String: String] = [:]
        var aliases: [String: String] = [:]
        var labels: [String: String] = [:]
        var replication = ""
        var etag = 1

        mutating func add(_ value: String, sum: String? = nil) {
            let number = (versions.last?.number ?? 0) + 1
            versions.append(Version(number: number, value: value, sum: sum ?? FakeSecretManager.sum(value)))
        }
    }

    struct State {
        var secrets: [String: Secret] = [:]
        /// Answers instead of the service, once; `nil` for the service's own answer.
        var next: (@Sendable (TestServer.Received, TestServer.Channel) -> TestServer.Afterwards?)?
        /// Is done before a request whose target holds the word is carried out, once.
        var before: (word: String, hook: @Sendable (inout State) -> Void)?
        /// Versions from this number on are neither listed nor `latest` yet.
        var known = Int.max
        var pageSize = 250
        var permissions: Set<String>?
        var losesAnswer: String?
        var damagesValues = false
    }

    let tokens = FakeGoogleTokens()
    let state = Mutex(State())
    private let server = Mutex<TestServer?>(nil)

    init() throws {
        let server = try TestServer { [weak self] request, channel in self?.serve(request, channel) ?? .close }
        self.server.withLock { $0 = server }
    }

    var address: String { server.withLock { $0?.url("") ?? "" } }
    var requests: [TestServer.Received] { server.withLock { $0?.received ?? [] } }

    func backend(_ folder: ScratchFolder, _ more: Parameters = [:]) throws -> any Backend {
        let type = try #require(BackendRegistry.all.first { $0.description.type == "gcp-secret-manager" })
        let own: Parameters = [
            "project": .string("acme-project"), "endpoint": .string(address), "changesPerSecond": .integer(1000),
            "auth": .map([
                "serviceAccountKey": .secret(.environment("KEY")), "tokenEndpoint": .string("\(address)/token"),
            ]),
        ]
        return try type.make(
            "gcp", own.merging(more) { _, new in new },
            try .forTests(folder, environment: ["KEY": tokens.own.file]))
    }

    func secret(_ name: String) -> Secret? { state.withLock { $0.secrets[name] } }

    /// What a consumer gets who reads `latest`, or an alias.
    func consumed(_ name: String, alias: String? = nil) -> String? {
        guard let secret = secret(name) else { return nil }
        let version =
            alias.map { alias in secret.versions.first { String($0.number) == secret.aliases[alias] } }
            ?? secret.versions.last
        return version.flatMap { $0.state == "ENABLED" ? $0.value : nil }
    }

    /// CRC32C by the definition, bit by bit.
    static func sum(_ text: String) -> String {
        var sum = UInt32.max
        for byte in text.utf8 {
            sum ^= UInt32(byte)
            for _ in 0..<8 { sum = sum & 1 == 1 ? (sum >> 1) ^ 0x82F6_3B78 : sum >> 1 }
        }
        return String(~sum)
    }

    private func serve(_ request: TestServer.Received, _ channel: TestServer.Channel) -> TestServer.Afterwards {
        if tokens.serve(request, channel) { return .keep }
        guard tokens.admits(request) else {
            channel.answer(401, Self.error("UNAUTHENTICATED"))
            return .keep
        }
        let (replacement, isLost) = state.withLock { state in
            let next = state.next
            state.next = nil
            if let before = state.before, request.target.contains(before.word) {
                state.before = nil
                before.hook(&state)
            }
            let isLost = state.losesAnswer.map(request.target.contains) == true
            if isLost { state.losesAnswer = nil }
            return (next, isLost)
        }
        if let replacement, let then = replacement(request, channel) { return then }
        let (status, body) = state.withLock { Self.answer(request, &$0) }
        guard !isLost else { return .close }
        channel.answer(status, body)
        return .keep
    }

    private static func answer(_ request: TestServer.Received, _ state: inout State) -> (Int, String) {
        let halves = request.target.split(separator: "?", maxSplits: 1).map(String.init)
        let query = Dictionary(
            (halves.count > 1 ? halves[1] : "").split(separator: "&").map { pair in
                let sides = pair.split(separator: "=", maxSplits: 1).map(String.init)
                return (sides[0], sides.count > 1 ? sides[1] : "")
            }, uniquingKeysWith: { $1 })
        let body = (try? JSONSerialization.jsonObject(with: Data(request.body))) as? [String: Any] ?? [:]
        guard halves[0].hasPrefix("/v1/projects/acme-project/secrets") else { return (404, error("NOT_FOUND")) }
        let path = halves[0].dropFirst("/v1/projects/acme-project/secrets".count).split(separator: "/").map(String.init)
        if path.isEmpty, request.method == "POST" {
            let name = query["secretId"] ?? ""
            guard state.secrets[name] == nil else { return (409, error("ALREADY_EXISTS")) }
            var secret = Secret()
            secret.labels = body["labels"] as? [String: String] ?? [:]
            let replication = try? JSONSerialization.data(
                withJSONObject: body["replication"] ?? [:], options: [.sortedKeys, .withoutEscapingSlashes])
            secret.replication = String(decoding: replication ?? Data(), as: UTF8.self)
            state.secrets[name] = secret
            return (200, json(["name": "projects/1/secrets/\(name)", "etag": "\"1\""]))
        }
        let words = path[0].split(separator: ":").map(String.init)
        let name = words[0]
        guard let secret = state.secrets[name] else { return (404, error("NOT_FOUND")) }
        switch (request.method, words.count > 1 ? words[1] : "", path.count) {
        case ("GET", "", 1):
            return (200, json(shown(name, secret)))
        case ("PATCH", "", 1):
            if let etag = body["etag"] as? String, etag != "\"\(secret.etag)\"" {
                return (400, error("FAILED_PRECONDITION"))
            }
            let fields = (query["updateMask"] ?? "").split(separator: ",")
            if fields.contains("annotations") {
                state.secrets[name]?.annotations = body["annotations"] as? [String: String] ?? [:]
            }
            if fields.contains("versionAliases") {
                state.secrets[name]?.aliases = body["versionAliases"] as? [String: String] ?? [:]
            }
            state.secrets[name]?.etag += 1
            return (200, json(shown(name, state.secrets[name] ?? secret)))
        case ("POST", "addVersion", 1):
            let payload = body["payload"] as? [String: String] ?? [:]
            let data = payload["data"].flatMap { Data(base64Encoded: $0) } ?? Data()
            let text = String(decoding: data, as: UTF8.self)
            guard payload["dataCrc32c"] == sum(text) else { return (400, error("INVALID_ARGUMENT")) }
            state.secrets[name]?.add(text)
            return (200, json(shown(name, state.secrets[name]?.versions.last)))
        case ("POST", "testIamPermissions", 1):
            let asked = body["permissions"] as? [String] ?? []
            return (200, json(["permissions": asked.filter { state.permissions?.contains($0) ?? true }]))
        case ("GET", "", 2) where path[1] == "versions":
            let all = secret.versions.filter { $0.number < state.known }.reversed()
            let start = Int(query["pageToken"] ?? "") ?? 0
            let part = all.dropFirst(start).prefix(state.pageSize)
            var answer: [String: Any] = ["versions": part.map { shown(name, $0) }, "totalSize": all.count]
            if start + part.count < all.count { answer["nextPageToken"] = String(start + part.count) }
            return (200, json(answer))
        case (_, "", 3) where path[1] == "versions":
            let asked = path[2].split(separator: ":").map(String.init)
            let visible = secret.versions.last { $0.number < state.known }?.number
            let number = asked[0] == "latest" ? visible : Int(asked[0] == secret.aliases[asked[0]] ? "" : asked[0])
            guard let index = secret.versions.firstIndex(where: { $0.number == number }), asked.count == 2 else {
                return (404, error("NOT_FOUND"))
            }
            let version = secret.versions[index]
            if asked[1] == "access" {
                guard version.state == "ENABLED" else { return (400, error("FAILED_PRECONDITION")) }
                let data = Data(version.value.utf8).base64EncodedString()
                let sum = state.damagesValues ? "1" : version.sum
                return (
                    200,
                    json([
                        "name": "projects/1/secrets/\(name)/versions/\(version.number)",
                        "payload": ["data": data, "dataCrc32c": sum],
                    ])
                )
            }
            if let etag = body["etag"] as? String, etag != "\"\(version.etag)\"" {
                return (400, error("FAILED_PRECONDITION"))
            }
            guard version.state != "DESTROYED" else { return (400, error("FAILED_PRECONDITION")) }
            state.secrets[name]?.versions[index].state = asked[1] == "destroy" ? "DESTROYED" : "DISABLED"
            state.secrets[name]?.versions[index].etag += 1
            return (200, json(shown(name, state.secrets[name]?.versions[index])))
        default: return (404, error("NOT_FOUND"))
        }
    }

    private static func shown(_ name: String, _ secret: Secret) -> [String: Any] {
        [
            "name": "projects/1/secrets/\(name)", "etag": "\"\(secret.etag)\"", "annotations": secret.annotations,
            "versionAliases": secret.aliases, "labels": secret.labels,
        ]
    }

    private static func shown(_ name: String, _ version: Version?) -> [String: Any] {
        guard let version else { return [:] }
        return [
            "name": "projects/1/secrets/\(name)/versions/\(version.number)", "state": version.state,
            "createTime": "2027-01-15T08:00:00.123456Z", "etag": "\"\(version.etag)\"",
        ]
    }

    static func error(_ status: String, reason: String = "") -> String {
        let details = reason.isEmpty ? "" : #","details":[{"reason":"\#(reason)"}]"#
        return #"{"error":{"code":1,"message":"CANARY","status":"\#(status)"\#(details)}}"#
    }

    private static func json(_ object: [String: Any]) -> String {
        String(decoding: (try? JSONSerialization.data(withJSONObject: object)) ?? Data(), as: UTF8.self)
    }
}
