/// Why a server of PostgreSQL could not be asked, or what it said no with. Nothing in it comes from the server but a code of
/// five characters.
package enum PostgresError: Error, Sendable, Equatable {
    /// The server answered with an error: https://www.postgresql.org/docs/current/errcodes-appendix.html
    ///
    /// - whileConnecting: whether it was the login that it refused.
    case answered(sqlState: String, whileConnecting: Bool)
    /// No server that takes writes could be reached.
    case unreachable
    /// No TLS, or not with whom it should be.
    case tls
    /// The server asks for a password, and there is none.
    case passwordNeeded
    /// - sent: whether a statement may have been carried out.
    case timedOut(sent: Bool)
    case connectionLost(sent: Bool)
    case cancelled(sent: Bool)
    /// The answer is not one that the statement can have.
    case badAnswer
}
