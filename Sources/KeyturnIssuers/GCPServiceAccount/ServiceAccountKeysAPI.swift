import Foundation
import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

/// The keys of service accounts at Google's IAM API:
/// https://cloud.google.com/iam/docs/reference/rest/v1/projects.serviceAccounts.keys
struct ServiceAccountKeysAPI: Sendable {
    struct Key: Decodable {
        let name: String
        /// The JSON file, in the answer that makes the key only.
        let privateKeyData: Data?
        let validAfterTime: String?
        let validBeforeTime: String?
        let disabled: Bool?
        let disableReason: String?

        /// The last part of `projects/P/serviceAccounts/A/keys/K`.
        var id: String { name.split(separator: "/").last.map(String.init) ?? "" }
    }

    private struct Create: Encodable {
        let privateKeyType = "TYPE_GOOGLE_CREDENTIALS_FILE"
        let keyAlgorithm = "KEY_ALG_RSA_2048"
    }

    private struct List: Decodable { let keys: [Key]? }

    private struct Empty: Codable {}

    let client: GoogleClient
    let timeout: Int
    let endpoint: GoogleTokenEndpoint

    init(_ parameters: Parameters, _ services: SystemServices) {
        let tls = TLSSettings(parameters)
        timeout = parameters.seconds("timeout") ?? 30
        let login = GoogleLogin(
            parameters.map("auth"), environment: services.environment, secrets: services.secrets, http: services.http,
            tls: tls, timeout: timeout, time: services.time)
        endpoint = login.endpoint
        client = GoogleClient(
            "Google IAM", address: RequestAddress.base(parameters.string("endpoint") ?? "https://iam.googleapis.com"),
            tokens: login.tokens, http: services.http, tls: tls, timeout: timeout, time: services.time)
    }

    /// How errors name the service.
    var name: String { client.name }

    /// The keys that users made; Google's own are none of ours.
    func keys(of account: String) async throws(SystemError) -> [Key] {
        do throws(GoogleRefusal) {
            let answer = try await client.call(
                "GET", "\(address(account))?keyTypes=USER_MANAGED", as: List.self)
            return answer.keys ?? []
        } catch { throw error.error }
    }

    /// Makes one more key, each time.
    func create(for account: String) async throws(SystemError) -> Key {
        let body = try JSONBody.encode(Create())
        do throws(GoogleRefusal) {
            return try await client.call("POST", address(account), body: body, mayRepeat: false, as: Key.self)
        } catch {
            guard error.status == "FAILED_PRECONDITION", error.error.code == .badRequest else { throw error.error }
            // Google says no more than that: https://github.com/googleapis/google-api-dotnet-client/issues/2027
            throw SystemError(
                .limitExceeded, "\(name): the state of \(account) allows no further key",
                advice: "see whether it has ten keys, is disabled, or a policy of the organization forbids keys")
        }
    }

    /// - Returns: false when the service knows no such key.
    func delete(_ id: String, of account: String) async throws(SystemError) -> Bool {
        do throws(GoogleRefusal) {
            _ = try await client.call("DELETE", address(account, id), as: Empty.self)
            return true
        } catch {
            guard error.error.code != .notFound else { return false }
            throw error.error
        }
    }

    func set(_ id: String, of account: String, isDisabled: Bool) async throws(SystemError) {
        let body = try JSONBody.encode(Empty())
        do throws(GoogleRefusal) {
            _ = try await client.call(
                "POST", "\(address(account, id)):\(isDisabled ? "disable" : "enable")", body: body, as: Empty.self)
        } catch {
            guard error.status == "FAILED_PRECONDITION",
                try await keys(of: account).contains(where: { $0.id == id && ($0.disabled ?? false) == isDisabled })
            else { throw error.error }
        }
    }

    /// The project is that of the account.
    private func address(_ account: String, _ id: String? = nil) -> String {
        let base = "/v1/projects/-/serviceAccounts/\(FormBody.escape(account))/keys"
        return id.map { "\(base)/\(FormBody.escape($0))" } ?? base
    }
}
