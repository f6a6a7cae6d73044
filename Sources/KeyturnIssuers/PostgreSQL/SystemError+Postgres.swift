import KeyturnCore
import PostgresClient

extension SystemError {
    /// - Parameter system: how the server is called in the message.
    init(_ error: PostgresError, from system: String) {
        switch error {
        case .answered(let state, let whileConnecting):
            self = Self.answer(state, whileConnecting, system)
        case .unreachable:
            self.init(
                .unreachable, "\(system) is out of reach, or takes no writes",
                advice: "check `host` and `port`, and whether the server runs and is no standby")
        case .tls:
            self.init(
                .tls, "\(system) could not be trusted",
                advice: "check its certificate and `sslMode`, or name its authority with `caFile`")
        case .passwordNeeded:
            self.init(
                .misconfigured, "\(system) asks Keyturn for a password",
                advice: "set `password` of the issuer to a reference")
        case .timedOut(let sent):
            self.init(.timedOut, "\(system) did not answer in time", mayHaveTakenEffect: sent)
        case .connectionLost(let sent):
            self.init(.unreachable, "\(system) broke the connection", mayHaveTakenEffect: sent)
        case .cancelled(let sent):
            self.init(.cancelled, "\(system) was not waited for", mayHaveTakenEffect: sent)
        case .badAnswer:
            self.init(.badAnswer, "\(system) gave an answer that makes no sense")
        }
    }

    /// https://www.postgresql.org/docs/current/errcodes-appendix.html
    private static func answer(_ state: String, _ whileConnecting: Bool, _ system: String) -> SystemError {
        func error(_ code: Code, _ words: String, _ advice: String = "", _ passes: Disposition? = nil) -> SystemError {
            SystemError(
                code, "\(system): \(words) (SQLSTATE \(state))", advice: advice, disposition: passes,
                // A statement that failed is undone. A server that ends may have carried it out before.
                mayHaveTakenEffect: !whileConnecting && state.hasPrefix("57P"))
        }
        switch state {
        case "28P01", "28000":
            return error(
                .unauthorized, "Keyturn is not let in",
                "check `user` and `password` of the issuer, and pg_hba.conf")
        case "42501":
            return error(
                .forbidden, "the right to change the role is missing",
                "see deploy/rights/postgresql-role.sql; roles of superusers can't be changed without being one")
        case "42704": return error(.notFound, "there is no such role")
        case "3D000": return error(.misconfigured, "there is no such database", "check `database`")
        case "22023": return error(.rejectedValue, "the server refuses the password")
        case "25006": return error(.unavailable, "the server is a standby", "name the primary with `host`")
        case "XX000": return error(.conflict, "somebody else changes the role", "", .passing)
        default: break
        }
        switch state.prefix(2) {
        case "08", "53", "55", "57", "58", "40":
            return error(.unavailable, "the server is in trouble")
        default: return error(.badRequest, "the statement was refused")
        }
    }
}
