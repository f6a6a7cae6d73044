import Foundation
import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

/// Momento's HTTP API for keys of the second generation.
///
/// See https://docs.momentohq.com/platform/authentication/api-keys-http-api: it is one server for the whole account, and
/// takes five operations a second.
struct MomentoKeysAPI: Sendable {
    let services: SystemServices
    let address: String
    let tls: TLSSettings
    /// Seconds that one request may take.
    let timeout: Int
    /// The key with which Keyturn calls.
    let apiKey: SecretReference
    let pace: RequestPace

    /// A key as it is listed: never its text.
    struct KeyInfo: Decodable {
        let id: String
        let description: String?
        let issuedAt: Double?
        /// Absent for a key that never expires.
        let expiresAt: Double?

        enum CodingKeys: String, CodingKey {
            case id = "key_id"
            case description
            case issuedAt = "issued_at_epoch_seconds"
            case expiresAt = "expires_at_epoch_seconds"
        }
    }

    struct Created: Decodable {
        let apiKey: String
        let info: KeyInfo

        enum CodingKeys: String, CodingKey {
            case apiKey = "api_key"
            case info = "key_info"
        }
    }

    private struct Page: Decodable {
        let keys: [KeyInfo]
        let next: String?

        enum CodingKeys: String, CodingKey {
            case keys = "key_info"
            case next = "next_token"
        }
    }

    private struct Order: Encodable {
        let role: String
        let description: String
        /// Seconds since 1970; `nil` for never.
        let expiry: Int64?

        enum CodingKeys: String, CodingKey {
            case role = "role_id"
            case description, expiry
        }

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: CodingKeys.self)
            try container.encode(role, forKey: .role)
            try container.encode(description, forKey: .description)
            if let expiry {
                try container.encode(expiry, forKey: .expiry)
            } else {
                try container.encode("never", forKey: .expiry)
            }
        }
    }

    private static let name = "Momento"
    private static let pageSize = 100
    /// More keys than this in one account are not looked through.
    private static let mostPages = 200

    func create(role: String, description: String, expiry: Int64?) async throws(SystemError) -> Created {
        let order = Order(role: role, description: description, expiry: expiry)
        let response = try await send("POST", "/api-keys", body: try JSONBody.encode(order))
        guard response.isSuccess else {
            throw failure(
                response, advice: response.status == 404 ? "is '\(role)' the id, and not the name, of a role?" : "")
        }
        guard let created = response.decodeJSON(Created.self), !created.apiKey.isEmpty, !created.info.id.isEmpty else {
            throw SystemError(.badAnswer, "\(Self.name) answered without a key", mayHaveTakenEffect: true)
        }
        return created
    }

    /// All keys of the account. A part of them is never taken for the whole.
    func list() async throws(SystemError) -> [KeyInfo] {
        var keys: [KeyInfo] = []
        var token: String?
        for _ in 0..<Self.mostPages {
            let page = try await page(after: token, limit: Self.pageSize)
            keys += page.keys
            guard let next = page.next, !next.isEmpty else { return keys }
            guard next != token else {
                throw SystemError(.badAnswer, "\(Self.name)'s list of keys leads back to itself")
            }
            token = next
        }
        throw SystemError(
            .badAnswer, "\(Self.name)'s list of keys does not end after \(keys.count)", disposition: .permanent)
    }

    /// Asks for one key, to see whether our own may ask.
    func probe() async throws(SystemError) { _ = try await page(after: nil, limit: 1) }

    /// - Throws: `notFound` for a key that is gone.
    func revoke(_ id: String) async throws(SystemError) {
        let response = try await send("DELETE", "/api-keys/\(FormBody.escape(id))")
        guard response.isSuccess else { throw failure(response) }
    }

    private func page(after token: String?, limit: Int) async throws(SystemError) -> Page {
        let more = token.map { "&next_token=\(FormBody.escape($0))" } ?? ""
        let response = try await send("GET", "/api-keys?limit=\(limit)\(more)")
        guard response.isSuccess else { throw failure(response) }
        guard let page = response.decodeJSON(Page.self) else {
            throw SystemError(.badAnswer, "\(Self.name) answered without a list of keys")
        }
        return page
    }

    private func send(
        _ method: String, _ path: String, body: SecretValue? = nil
    ) async throws(SystemError) -> HTTPResponse {
        let credential = try await services.secrets.resolve(apiKey)
        var request = HTTPRequest(method, address + path, body: body, tls: tls)
        request.timeouts.total = .seconds(timeout)
        // The key as it is, without a scheme before it.
        request.set("Authorization", MomentoKey(credential)?.bearer ?? credential)
        if body != nil { request.set("Content-Type", "application/json") }
        let sent = request
        let response = try await pace.run { () throws(SystemError) in
            do throws(HTTPError) { return try await services.http.execute(sent) } catch {
                throw SystemError(error, from: Self.name)
            }
        }
        if response.status == 429 { pace.pause(for: response.retryAfter(now: services.time.now()) ?? 1) }
        return response
    }

    private func failure(_ response: HTTPResponse, advice: String = "") -> SystemError {
        let usual =
            switch response.status {
            case 401: "check `apiKey`: it may have expired"
            case 403: "give the role of `apiKey` the right to manage API keys (auth_management)"
            default: ""
            }
        return SystemError(
            status: response.status, of: response, from: Self.name, now: services.time.now(),
            advice: advice.isEmpty ? usual : advice)
    }
}
