import KeyturnCore
import KeyturnHTTP
import KeyturnSystem
import PostgresClient

/// A server of PostgreSQL, as it is configured: who we are there, and how it is known.
struct PostgreSQLServer: Sendable {
    let host: String
    let port: Int
    let database: String
    private let user: String
    private let password: SecretReference?
    private let tls: [(keyword: String, value: String)]
    private let timeout: Int
    private let secrets: any SecretResolver

    init(_ parameters: Parameters, _ services: SystemServices) {
        host = parameters.string("host") ?? ""
        port = parameters.integer("port") ?? 5432
        database = parameters.string("database") ?? "postgres"
        user = parameters.string("user") ?? ""
        password = parameters.secret("password")
        timeout = parameters.seconds("timeout") ?? 10
        secrets = services.secrets
        var tls = [("sslmode", Self.sslMode(parameters))]
        // What libpq looks for by itself is a file in the user's home.
        let authorities =
            parameters.string("caFile") ?? services.environment["SSL_CERT_FILE"] ?? "/etc/ssl/certs/ca-certificates.crt"
        tls.append(("sslrootcert", authorities))
        if let file = parameters.string("certificateFile") { tls.append(("sslcert", file)) }
        if let file = parameters.string("keyFile") { tls.append(("sslkey", file)) }
        self.tls = tls.map { (keyword: $0.0, value: $0.1) }
    }

    var name: String { "PostgreSQL at \(host)" }

    /// What is sent to this machine leaves it for nobody to read; anybody else has to prove who he is.
    static func sslMode(_ parameters: Parameters) -> String {
        parameters.string("sslMode") ?? (isLocal(parameters) ? "prefer" : "verify-full")
    }

    static func isLocal(_ parameters: Parameters) -> Bool {
        let host = parameters.string("host") ?? ""
        return host.hasPrefix("/") || Loopback.contains(host)
    }

    /// Asks as Keyturn's own role, on a connection for this question alone.
    func ask<Answer: Sendable>(
        _ question: @escaping @Sendable (PostgresConnection) throws(PostgresError) -> Answer
    ) async throws(SystemError) -> Answer {
        var settings = settings(user: user, database: database)
        // A standby takes no new passwords.
        settings.append(("target_session_attrs", "read-write"))
        if let password {
            guard let text = try await secrets.resolve(password).exposedText() else {
                throw SystemError(.misconfigured, "the password for \(name) is not UTF-8")
            }
            settings.append(("password", text))
        }
        do throws(PostgresError) { return try await converse(settings, question) } catch {
            throw SystemError(error, from: name)
        }
    }

    enum Login: Sendable {
        case accepted
        /// The password is wrong, too old, or there is none.
        case refused
        /// It lets in whoever comes from here, so that a password proves nothing.
        case withoutPassword
    }

    /// Whether a role gets in with a password.
    func login(_ role: String, _ password: SecretValue, database: String) async throws(SystemError) -> Login {
        // A text with NUL is no password, and would be cut in C.
        guard let text = password.exposedText(), !text.isEmpty, !text.utf8.contains(0) else { return .refused }
        let settings = settings(user: role, database: database) + [("password", text)]
        do throws(PostgresError) {
            return try await converse(settings) { connection in
                connection.usedPassword ? .accepted : .withoutPassword
            }
        } catch {
            switch error {
            case .answered("28P01", _): return .refused
            case .answered("28000", _):
                throw SystemError(
                    .forbidden, "\(name) does not let the role \(role) in from here, whatever its password is",
                    advice: "see that the role may log in, and that pg_hba.conf asks it for scram-sha-256 from here")
            case .answered("42501", _):
                throw SystemError(
                    .forbidden, "the role \(role) may not connect to the database \(database)",
                    advice: "grant CONNECT, or name another `database` in the policy, where passwords are tried")
            default: throw SystemError(error, from: name)
            }
        }
    }

    private func settings(user: String, database: String) -> [(keyword: String, value: String)] {
        [
            ("host", host), ("port", String(port)), ("dbname", database), ("user", user),
            ("application_name", "keyturn"), ("client_encoding", "UTF8"), ("gssencmode", "disable"),
        ] + tls
    }

    private func converse<Answer: Sendable>(
        _ settings: [(keyword: String, value: String)],
        _ question: @escaping @Sendable (PostgresConnection) throws(PostgresError) -> Answer
    ) async throws(PostgresError) -> Answer {
        let outcome = await BlockingCall.run("postgresql", seconds: timeout) {
            patience -> Result<Answer, PostgresError> in
            do throws(PostgresError) {
                return .success(try question(try PostgresConnection.connect(settings, patience)))
            } catch { return .failure(error) }
        }
        return try outcome.get()
    }
}
