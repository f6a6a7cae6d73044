import Foundation
import Synchronization

/// Gives out tokens to one application, as Microsoft Entra ID does, and knows those that are good.
package final class FakeEntra: Sendable {
    package static let tenant = "11111111-1111-4111-8111-111111111111"
    package static let clientID = "22222222-2222-4222-8222-222222222222"
    package static let secret = "the-application's=secret&more~"

    private struct State {
        var secrets: [String: Set<String>] = [FakeEntra.clientID: [FakeEntra.secret]]
        var tokens: [String: String] = [:]
        var logins: [[String: String]] = []
    }

    private let state = Mutex(State())

    package init() {}

    /// The forms that came in.
    package var logins: [[String: String]] { state.withLock { $0.logins } }

    package func setSecrets(_ secrets: Set<String>, of clientID: String) {
        state.withLock { $0.secrets[clientID] = secrets }
    }

    /// From here on no token is good any more.
    package func forgetTokens() { state.withLock { $0.tokens = [:] } }

    /// Whether the request carries a token for the resource.
    package func admits(_ request: TestServer.Received, to resource: String) -> Bool {
        let header = request.all("Authorization").first ?? ""
        return state.withLock { $0.tokens[header] == "\(resource)/.default" }
    }

    /// Answers a request for a token; false for any other.
    package func serve(_ request: TestServer.Received, _ channel: TestServer.Channel) -> Bool {
        guard request.method == "POST", request.target.hasSuffix("/oauth2/v2.0/token") else { return false }
        var form: [String: String] = ["": request.target]
        for pair in String(decoding: request.body, as: UTF8.self).split(separator: "&") {
            let halves = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            form[String(halves[0])] = String(halves.count > 1 ? halves[1] : "").removingPercentEncoding
        }
        let token = state.withLock { state -> String? in
            state.logins.append(form)
            let known = state.secrets[form["client_id"] ?? ""]
            guard known?.contains(form["client_secret"] ?? form["client_assertion"] ?? "") == true,
                form["grant_type"] == "client_credentials"
            else { return nil }
            let token = "token-\(state.logins.count)"
            state.tokens["Bearer \(token)"] = form["scope"]
            return token
        }
        if let token {
            channel.answer(200, #"{"token_type":"Bearer","expires_in":3599,"access_token":"\#(token)"}"#)
        } else {
            channel.answer(
                401,
                #"{"error":"invalid_client","error_description":"AADSTS7000215: CANARY","error_codes":[7000215]}"#)
        }
        return true
    }
}
