import Foundation
import Synchronization
import TestSupport

/// An interface as somebody might write one: keys below `/v1/teams/NAME/keys`, two to a page.
final class FakeKeyService: Sendable {
    struct State {
        var keys: [(id: Int, note: String, token: String)] = []
        var made = 0
        /// Answers instead, whatever is asked.
        var refusal: (status: Int, body: String)?
        var losesAnswers = false
    }

    let state = Mutex(State())
    private let server = Mutex<TestServer?>(nil)

    init() throws {
        let server = try TestServer { [weak self] request, channel in self?.serve(request, channel) ?? .close }
        self.server.withLock { $0 = server }
    }

    var address: String { server.withLock { $0?.url("") ?? "" } }
    var requests: [TestServer.Received] { server.withLock { $0?.received ?? [] } }

    private func serve(_ request: TestServer.Received, _ channel: TestServer.Channel) -> TestServer.Afterwards {
        let body = (try? JSONSerialization.jsonObject(with: Data(request.body))) as? [String: Any] ?? [:]
        let keys = "/v1/teams/a%2Fb/keys"
        let (status, answer, isLost) = state.withLock { state -> (Int, String, Bool) in
            if let refusal = state.refusal { return (refusal.status, refusal.body, false) }
            if request.target == "/v1/me" {
                let known = state.keys.contains { request.all("x-key") == [$0.token] }
                return (known ? 200 : 401, "{}", false)
            }
            guard request.all("authorization") == ["Bearer own+secret"] else { return (401, "{}", false) }
            switch (request.method, request.target) {
            case ("POST", keys):
                state.made += 1
                let key = (id: state.made, note: body["note"] as? String ?? "", token: "t-\(state.made)/+=")
                state.keys.append(key)
                let end = body["ttl"] as? Int
                return (
                    201,
                    #"{"data":{"id":\#(key.id),"token":"\#(key.token)","user":"u-\#(key.id)","#
                        + #""end":\#(end.map { String(1_800_000_000 + $0) } ?? "null")}}"#, state.losesAnswers
                )
            case ("GET", _) where request.target.hasPrefix(keys):
                let begin = request.target.split(separator: "=").last.flatMap { Int($0) } ?? 0
                let page = state.keys.dropFirst(begin).prefix(2).map { key in
                    let note = String(decoding: (try? JSONEncoder().encode(key.note)) ?? Data(), as: UTF8.self)
                    return #"{"id":\#(key.id),"note":\#(note),"made":"2027-01-15T08:00:00.5Z"}"#
                }
                let next = begin + 2 < state.keys.count ? String(begin + 2) : "null"
                return (200, #"{"data":[\#(page.joined(separator: ","))],"next":\#(next)}"#, false)
            case ("DELETE", _):
                let id = request.target.split(separator: "/").last.flatMap { Int($0) }
                guard let index = state.keys.firstIndex(where: { $0.id == id }) else { return (404, "{}", false) }
                state.keys.remove(at: index)
                return (204, "", false)
            default: return (400, "{}", false)
            }
        }
        guard !isLost else { return .close }
        channel.answer(status, answer)
        return .keep
    }
}
