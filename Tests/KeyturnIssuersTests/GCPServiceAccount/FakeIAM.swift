import Foundation
import KeyturnCore
import KeyturnIssuers
import Synchronization
import TestSupport
import Testing

/// Keys of one service account at Google's IAM API, with the token endpoint at which they log in.
final class FakeIAM: Sendable {
    struct Key {
        let key: FakeGoogleTokens.Key
        var validAfter = "2027-01-15T08:00:00Z"
        var validBefore = "9999-12-31T23:59:59Z"
        var isDisabled = false
        var reason: String?
    }

    struct State {
        var keys: [Key] = []
        var made = 0
        var deleted: Set<String> = []
        /// Keys that are neither listed nor deletable nor good for a login yet.
        var hidden: Set<String> = []
        /// Ids that are answered as unknown when they are to be deleted.
        var undeletable: Set<String> = []
        var validBefore = "9999-12-31T23:59:59Z"
        /// Answers instead of the service.
        var refusal: (status: Int, body: String)?
        var losesAnswers = false
    }

    static let account = "payments@acme-project.iam.gserviceaccount.com"

    let tokens = FakeGoogleTokens()
    let state = Mutex(State())
    private let server = Mutex<TestServer?>(nil)

    init() throws {
        let server = try TestServer { [weak self] request, channel in self?.serve(request, channel) ?? .close }
        self.server.withLock { $0 = server }
    }

    var address: String { server.withLock { $0?.url("") ?? "" } }
    var requests: [TestServer.Received] { server.withLock { $0?.received ?? [] } }

    func issuer(
        _ folder: ScratchFolder, _ more: Parameters = [:], time: any Timekeeper = SystemTimekeeper()
    ) throws -> any Issuer {
        let type = try #require(IssuerRegistry.all.first { $0.description.type == "gcp-service-account-key" })
        let own: Parameters = [
            "endpoint": .string(address),
            "auth": .map([
                "serviceAccountKey": .secret(.environment("KEY")), "tokenEndpoint": .string("\(address)/token"),
            ]),
        ]
        return try type.make(
            "gcp", own.merging(more) { _, new in new },
            try .forTests(folder, environment: ["KEY": tokens.own.file], time: time))
    }

    /// Somebody makes a key.
    @discardableResult
    func add(validAfter: String = "2027-01-15T08:00:00Z") -> FakeGoogleTokens.Key {
        state.withLock { Self.add(&$0, validAfter: validAfter) }
    }

    private static func add(_ state: inout State, validAfter: String = "2027-01-15T08:00:00Z") -> FakeGoogleTokens.Key {
        state.made += 1
        let key = FakeGoogleTokens.key(state.made, email: account)
        state.keys.append(Key(key: key, validAfter: validAfter, validBefore: state.validBefore))
        return key
    }

    private func serve(_ request: TestServer.Received, _ channel: TestServer.Channel) -> TestServer.Afterwards {
        let (all, good) = state.withLock { state in
            (
                state.deleted.union(state.keys.map(\.key.id)),
                state.keys.filter { !$0.isDisabled && !state.hidden.contains($0.key.id) }.map(\.key)
            )
        }
        for id in all { tokens.dismiss(id) }
        for key in good { tokens.admit(key) }
        if tokens.serve(request, channel) { return .keep }
        guard tokens.admits(request) else {
            channel.answer(401, Self.error("UNAUTHENTICATED"))
            return .keep
        }
        let (status, body, isLost) = state.withLock { state -> (Int, String, Bool) in
            if let refusal = state.refusal { return (refusal.status, refusal.body, false) }
            let (status, body) = Self.answer(request, &state)
            return (status, body, state.losesAnswers && request.method != "GET")
        }
        guard !isLost else { return .close }
        channel.answer(status, body)
        return .keep
    }

    private static func answer(_ request: TestServer.Received, _ state: inout State) -> (Int, String) {
        let base = "/v1/projects/-/serviceAccounts/payments%40acme-project.iam.gserviceaccount.com/keys"
        let body = (try? JSONSerialization.jsonObject(with: Data(request.body))) as? [String: String] ?? [:]
        switch (request.method, request.target) {
        case ("GET", "\(base)?keyTypes=USER_MANAGED"):
            let listed = state.keys.filter { !state.hidden.contains($0.key.id) }
            return (200, json(listed.isEmpty ? [:] : ["keys": listed.map { shown($0) }]))
        case ("POST", base):
            guard body["privateKeyType"] == "TYPE_GOOGLE_CREDENTIALS_FILE" else {
                return (400, error("INVALID_ARGUMENT"))
            }
            let key = add(&state)
            guard let made = state.keys.last else { return (500, "") }
            return (
                200,
                json(shown(made).merging(["privateKeyData": Data(key.file.utf8).base64EncodedString()]) { $1 })
            )
        default:
            guard request.target.hasPrefix("\(base)/") else { return (404, error("NOT_FOUND")) }
            let words = request.target.dropFirst(base.count + 1).split(separator: ":").map(String.init)
            guard let index = state.keys.firstIndex(where: { $0.key.id == words[0] }),
                !state.hidden.contains(words[0]), !state.undeletable.contains(words[0])
            else { return (404, error("NOT_FOUND")) }
            switch (request.method, words.count > 1 ? words[1] : "") {
            case ("DELETE", ""): state.deleted.insert(state.keys.remove(at: index).key.id)
            case ("POST", "disable"), ("POST", "enable"):
                let isDisabled = words[1] == "disable"
                guard state.keys[index].isDisabled != isDisabled else { return (400, error("FAILED_PRECONDITION")) }
                state.keys[index].isDisabled = isDisabled
            default: return (404, error("NOT_FOUND"))
            }
            return (200, "{}")
        }
    }

    private static func shown(_ key: Key) -> [String: Any] {
        var shown: [String: Any] = [
            "name": "projects/acme-project/serviceAccounts/\(account)/keys/\(key.key.id)",
            "validAfterTime": key.validAfter, "validBeforeTime": key.validBefore, "keyAlgorithm": "KEY_ALG_RSA_2048",
            "keyOrigin": "GOOGLE_PROVIDED", "keyType": "USER_MANAGED",
        ]
        if key.isDisabled { shown["disabled"] = true }
        if let reason = key.reason { shown["disableReason"] = reason }
        return shown
    }

    static func error(_ status: String, constraint: String = "") -> String {
        let details = constraint.isEmpty ? "" : #","details":[{"violations":[{"type":"\#(constraint)"}]}]"#
        return #"{"error":{"code":1,"message":"CANARY","status":"\#(status)"\#(details)}}"#
    }

    private static func json(_ object: [String: Any]) -> String {
        String(decoding: (try? JSONSerialization.data(withJSONObject: object)) ?? Data(), as: UTF8.self)
    }
}
