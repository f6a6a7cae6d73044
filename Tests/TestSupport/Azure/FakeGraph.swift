import Foundation
package import Synchronization

/// Application passwords behind Microsoft Graph, with the token endpoint at which they log in.
package final class FakeGraph: Sendable {
    package struct Password: Sendable {
        package var displayName: String
        package var text: String
        package var end: String
    }

    package struct State: Sendable {
        package var passwords: [String: Password] = [:]
        /// Ids that are neither listed nor removable nor good for a login yet.
        package var hidden: Set<String> = []
        var made = 0
        /// Answers instead of Graph.
        package var refusal: (status: Int, body: String)?
        /// Carries a request out and loses the answer.
        package var losesAnswers = false
    }

    package static let application = "33333333-3333-4333-8333-333333333333"

    package let entra = FakeEntra()
    package let state = Mutex(State())
    private let server = Mutex<TestServer?>(nil)

    package init() throws {
        let server = try TestServer { [weak self] request, channel in self?.serve(request, channel) ?? .close }
        self.server.withLock { $0 = server }
    }

    package var address: String { server.withLock { $0?.url("") ?? "" } }
    package var requests: [TestServer.Received] { server.withLock { $0?.received ?? [] } }

    private func serve(_ request: TestServer.Received, _ channel: TestServer.Channel) -> TestServer.Afterwards {
        let texts = state.withLock { state in
            Set(state.passwords.filter { !state.hidden.contains($0.key) }.map(\.value.text))
        }
        entra.setSecrets(texts, of: Self.application)
        if entra.serve(request, channel) { return .keep }
        guard entra.admits(request, to: address) else {
            channel.answer(401, #"{"error":{"code":"InvalidAuthenticationToken"}}"#)
            return .keep
        }
        let body = (try? JSONSerialization.jsonObject(with: Data(request.body))) as? [String: Any] ?? [:]
        let path = "/v1.0/applications(appId='\(Self.application)')"
        let (status, answer, isLost) = state.withLock { state -> (Int, String, Bool) in
            if let refusal = state.refusal { return (refusal.status, refusal.body, false) }
            switch (request.method, request.target) {
            case ("GET", "\(path)?$select=passwordCredentials"):
                let list = state.passwords.filter { !state.hidden.contains($0.key) }.map {
                    #"{"keyId":"\#($0.key)","displayName":"\#($0.value.displayName)","secretText":null,"#
                        + #""startDateTime":"2027-01-15T08:00:00.1234567Z","endDateTime":"\#($0.value.end)"}"#
                }
                return (200, #"{"passwordCredentials":[\#(list.joined(separator: ","))]}"#, false)
            case ("POST", "\(path)/addPassword"):
                let wanted = body["passwordCredential"] as? [String: String] ?? [:]
                state.made += 1
                let id = String(format: "00000000-0000-4000-8000-%012d", state.made)
                let password = Password(
                    displayName: wanted["displayName"] ?? "", text: "p~\(state.made)&=+",
                    end: wanted["endDateTime"] ?? "")
                state.passwords[id] = password
                return (
                    200,
                    #"{"keyId":"\#(id)","secretText":"\#(password.text)","endDateTime":"\#(password.end)","hint":"p~"}"#,
                    state.losesAnswers
                )
            case ("POST", "\(path)/removePassword"):
                let id = body["keyId"] as? String ?? ""
                guard !state.hidden.contains(id), state.passwords.removeValue(forKey: id) != nil else {
                    return (400, #"{"error":{"code":"Request_BadRequest","message":"CANARY"}}"#, false)
                }
                return (204, "", state.losesAnswers)
            default: return (404, #"{"error":{"code":"Request_ResourceNotFound","message":"CANARY"}}"#, false)
            }
        }
        guard !isLost else { return .close }
        channel.answer(status, answer)
        return .keep
    }
}
