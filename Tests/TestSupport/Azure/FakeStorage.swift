import Foundation
import KeyturnCore
import KeyturnHTTP
package import Synchronization

/// The two keys of a storage account behind Azure Resource Manager, and the account's blob service.
package final class FakeStorage: Sendable {
    package struct State: Sendable {
        package var keys = ["key1": FakeStorage.text(1), "key2": FakeStorage.text(2)]
        var made = 2
        /// Answers instead of Azure Resource Manager.
        package var refusal: (status: Int, body: String)?
        /// Answers instead of the blob service.
        package var blobRefusal: (status: Int, code: String)?
        /// Carries a request out and loses the answer.
        package var losesAnswers = false
    }

    package static let account = "payments1"
    package static let subscription = "44444444-4444-4444-8444-444444444444"

    package let entra = FakeEntra()
    package let state = Mutex(State())
    private let server = Mutex<TestServer?>(nil)

    package init() throws {
        let server = try TestServer { [weak self] request, channel in self?.serve(request, channel) ?? .close }
        self.server.withLock { $0 = server }
    }

    package var address: String { server.withLock { $0?.url("") ?? "" } }

    private static func text(_ number: Int) -> String {
        Data((0..<64).map { UInt8(truncatingIfNeeded: $0 &* 7 &+ number) }).base64EncodedString()
    }

    private func serve(_ request: TestServer.Received, _ channel: TestServer.Channel) -> TestServer.Afterwards {
        if entra.serve(request, channel) { return .keep }
        if request.target.hasPrefix("/?") {
            let refusal = state.withLock { $0.blobRefusal } ?? (accepts(request) ? nil : (403, "AuthenticationFailed"))
            guard let refusal else {
                channel.answer(200, "<StorageServiceProperties/>")
                return .keep
            }
            channel.answer(refusal.0, "CANARY", headers: ["x-ms-error-code: \(refusal.1)"])
            return .keep
        }
        guard entra.admits(request, to: address) else {
            channel.answer(401, "{}")
            return .keep
        }
        let body = (try? JSONSerialization.jsonObject(with: Data(request.body))) as? [String: String] ?? [:]
        let path =
            "/subscriptions/\(Self.subscription)/resourceGroups/payments%20%28eu%29/providers/Microsoft.Storage"
            + "/storageAccounts/\(Self.account)/"
        let (status, answer, isLost) = state.withLock { state -> (Int, String, Bool) in
            if let refusal = state.refusal { return (refusal.status, refusal.body, false) }
            switch (request.method, request.target) {
            case ("POST", "\(path)listKeys?api-version=2023-05-01"): return (200, list(state), false)
            case ("POST", "\(path)regenerateKey?api-version=2023-05-01"):
                state.made += 1
                state.keys[body["keyName"] ?? ""] = Self.text(state.made)
                return (200, list(state), state.losesAnswers)
            default: return (404, #"{"error":{"code":"ResourceNotFound","message":"CANARY"}}"#, false)
            }
        }
        guard !isLost else { return .close }
        channel.answer(status, answer)
        return .keep
    }

    private func list(_ state: State) -> String {
        let keys = (state.keys.merging(["kerb1": "x"]) { $1 }).sorted { $0.key < $1.key }.map {
            #"{"keyName":"\#($0.key)","value":"\#($0.value)","permissions":"FULL","#
                + #""creationTime":"2027-01-15T08:00:00.\#(abs($0.value.hashValue) % 9_000_000 + 1_000_000)Z"}"#
        }
        return #"{"keys":[\#(keys.joined(separator: ","))]}"#
    }

    /// Whether one of the keys signed the request.
    private func accepts(_ request: TestServer.Received) -> Bool {
        guard let date = request.all("x-ms-date").first.flatMap(HTTPDate.parse) else { return false }
        return state.withLock { $0.keys.values.sorted() }.contains { text in
            var unsigned = HTTPRequest("GET", "\(address)\(request.target)")
            for version in request.all("x-ms-version") { unsigned.set("x-ms-version", version) }
            let signed = try? StorageSharedKey(account: Self.account, key: SecretValue(utf8: text))?
                .sign(unsigned, at: date)
            guard case .plain(let wanted) = signed?.headers.last?.value else { return false }
            return request.all("Authorization") == [wanted]
        }
    }
}
