import CryptoExtras
import Foundation
import Synchronization

/// Gives out tokens for assertions of service accounts, as Google's token endpoint does, and knows those that are good.
package final class FakeGoogleTokens: Sendable {
    /// A key of an account, with its private half in the file that Google hands out.
    package struct Key: Sendable {
        package let id: String
        package let email: String
        package let file: String
        fileprivate let pair: _RSA.Signing.PrivateKey
    }

    package static let email = "keyturn@acme-project.iam.gserviceaccount.com"

    private struct State {
        var keys: [String: Key] = [:]
        var tokens: Set<String> = []
        var logins: [String] = []
        var claims: [[String: String]] = []
    }

    /// Making one takes long, so that all fakes of a process share these.
    private static let pairs = (0..<3).compactMap { _ in try? _RSA.Signing.PrivateKey(keySize: .bits2048) }

    private let state = Mutex(State())
    /// Keyturn's own.
    package let own: Key

    package init() {
        own = Self.key(0, email: Self.email)
        admit(own)
    }

    /// - Parameter number: keys with different numbers are different ones.
    package static func key(_ number: Int, email: String) -> Key {
        let pair = pairs[number % pairs.count]
        let id = String(format: "%040x", number)
        let members = [
            "type": "service_account", "project_id": "acme-project", "private_key_id": id,
            "private_key": pair.pkcs8PEMRepresentation + "\n", "client_email": email, "client_id": "1",
            "token_uri": "https://oauth2.googleapis.com/token",
        ]
        let data =
            (try? JSONSerialization.data(withJSONObject: members, options: [.sortedKeys, .prettyPrinted])) ?? Data()
        return Key(id: id, email: email, file: String(decoding: data, as: UTF8.self), pair: pair)
    }

    package func admit(_ key: Key) { state.withLock { $0.keys[key.id] = key } }
    package func dismiss(_ id: String) { state.withLock { $0.keys[id] = nil } }

    /// The ids of the keys that logged in.
    package var logins: [String] { state.withLock { $0.logins } }
    /// What the assertions said.
    package var claims: [[String: String]] { state.withLock { $0.claims } }

    /// From here on no token is good any more.
    package func forgetTokens() { state.withLock { $0.tokens = [] } }

    package func admits(_ request: TestServer.Received) -> Bool {
        let header = request.all("Authorization").first ?? ""
        return state.withLock { $0.tokens.contains(header) }
    }

    /// Answers a request for a token; false for any other.
    package func serve(_ request: TestServer.Received, _ channel: TestServer.Channel) -> Bool {
        guard request.method == "POST", request.target == "/token" else { return false }
        var form: [String: String] = [:]
        for pair in String(decoding: request.body, as: UTF8.self).split(separator: "&") {
            let halves = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            form[String(halves[0])] = String(halves.count > 1 ? halves[1] : "").removingPercentEncoding
        }
        guard form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer",
            let token = token(for: form["assertion"] ?? "")
        else {
            channel.answer(400, #"{"error":"invalid_grant","error_description":"Invalid JWT Signature. CANARY"}"#)
            return true
        }
        channel.answer(200, #"{"access_token":"\#(token)","expires_in":3599,"token_type":"Bearer"}"#)
        return true
    }

    private func token(for assertion: String) -> String? {
        let parts = assertion.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 3, let header = Self.object(parts[0]), let claims = Self.object(parts[1]),
            let signature = Self.bytes(parts[2]), header["alg"] == "RS256", header["typ"] == "JWT"
        else { return nil }
        let signed = Data("\(parts[0]).\(parts[1])".utf8)
        return state.withLock { state in
            state.claims.append(claims)
            guard let key = state.keys[header["kid"] ?? ""], claims["iss"] == key.email,
                claims["aud"] == "https://oauth2.googleapis.com/token",
                key.pair.publicKey.isValidSignature(
                    _RSA.Signing.RSASignature(rawRepresentation: signature), for: signed,
                    padding: .insecurePKCS1v1_5)
            else { return nil }
            state.logins.append(key.id)
            let token = "ya29.token-\(state.logins.count)"
            state.tokens.insert("Bearer \(token)")
            return token
        }
    }

    private static func bytes(_ text: String) -> Data? {
        let usual = text.replacing("-", with: "+").replacing("_", with: "/")
        return Data(base64Encoded: usual + String(repeating: "=", count: (4 - usual.count % 4) % 4))
    }

    private static func object(_ text: String) -> [String: String]? {
        let object = bytes(text).flatMap { try? JSONSerialization.jsonObject(with: $0) } as? [String: Any]
        return object?.mapValues { "\($0)" }
    }
}
