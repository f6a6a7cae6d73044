import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

/// The servers of Redis that know the same users, as they are configured. Each keeps users of its own: nothing of them is
/// replicated, see https://redis.io/docs/latest/operate/oss_and_stack/management/security/acl/
struct RedisServers: Sendable {
    let addresses: [StreamAddress]
    private let user: String
    private let password: SecretReference?
    private let tls: TLSSettings
    private let timeout: Int
    private let secrets: any SecretResolver

    init(_ parameters: Parameters, _ services: SystemServices) {
        addresses = (parameters.strings("addresses") ?? []).compactMap(Self.address)
        user = parameters.string("user") ?? "default"
        password = parameters.secret("password")
        tls = TLSSettings(parameters)
        timeout = parameters.seconds("timeout") ?? 10
        secrets = services.secrets
    }

    /// Reads `redis://HOST:PORT`, `rediss://HOST:PORT` (TLS) and `unix:PATH`; `nil` for anything else.
    static func address(_ text: String) -> StreamAddress? {
        if text.hasPrefix("unix:/") { return StreamAddress(host: String(text.dropFirst(5)), port: 0, isSecure: false) }
        let isSecure = text.hasPrefix("rediss://")
        guard isSecure || text.hasPrefix("redis://") else { return nil }
        let place = text.dropFirst(isSecure ? 9 : 8)
        var host = place
        var port = 6379
        if let colon = place.lastIndex(of: ":"), !place[colon...].contains("]") {
            guard let number = Int(place[place.index(after: colon)...]), (1...65_535).contains(number) else {
                return nil
            }
            port = number
            host = place[..<colon]
        }
        let isBracketed = host.hasPrefix("[") && host.hasSuffix("]")
        if isBracketed { host = host.dropFirst().dropLast() }
        let allowed = "-._" + (isBracketed ? ":" : "")
        guard !host.isEmpty, host.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || allowed.contains($0)) })
        else { return nil }
        return StreamAddress(host: String(host), port: port, isSecure: isSecure)
    }

    static func name(_ address: StreamAddress) -> String {
        address.isSocket ? "Redis at \(address.host)" : "Redis at \(address.authority)"
    }

    /// Asks one server as Keyturn's own user.
    func ask<Answer: Sendable>(
        _ address: StreamAddress, _ question: @escaping @Sendable (RedisConnection) throws(RedisError) -> Answer
    ) async throws(SystemError) -> Answer {
        var secret: SecretValue?
        if let password { secret = try await secrets.resolve(password) }
        let (user, login) = (user, secret)
        do throws(RedisError) {
            return try await converse(address) { (connection) throws(RedisError) in
                if let login { try connection.authenticate(user, login) }
                return try question(connection)
            }
        } catch { throw SystemError(error, from: Self.name(address)) }
    }

    /// Whether a user gets in with a password.
    func login(_ user: String, _ password: SecretValue, at address: StreamAddress) async throws(SystemError) -> Bool {
        do throws(RedisError) {
            return try await converse(address) { (connection) throws(RedisError) in
                try connection.authenticate(user, password)
                return true
            }
        } catch {
            guard error != .answered(code: "WRONGPASS") else { return false }
            throw SystemError(error, from: Self.name(address))
        }
    }

    private func converse<Answer: Sendable>(
        _ address: StreamAddress, _ question: @escaping @Sendable (RedisConnection) throws(RedisError) -> Answer
    ) async throws(RedisError) -> Answer {
        let tls = tls
        return try await BlockingCall.run("redis", seconds: timeout) { patience -> Result<Answer, RedisError> in
            do throws(RedisError) {
                return .success(try question(try RedisConnection.open(address, tls, patience)))
            } catch {
                return .failure(error)
            }
        }.get()
    }
}
