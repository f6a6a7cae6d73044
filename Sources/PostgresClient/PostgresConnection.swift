import CPostgres
package import KeyturnCore

#if canImport(Glibc)
    import Glibc
#endif

/// One connection to a server of PostgreSQL over libpq, for one thread, which it keeps waiting.
///
/// The documentation of libpq: https://www.postgresql.org/docs/current/libpq.html
package final class PostgresConnection {
    private let handle: OpaquePointer
    private let patience: Patience

    private init(_ handle: OpaquePointer, _ patience: Patience) {
        self.handle = handle
        self.patience = patience
    }

    deinit { PQfinish(handle) }

    /// - Parameter settings: keywords of connections with their values, none of which goes through a connection string.
    package static func connect(
        _ settings: [(keyword: String, value: String)], _ patience: Patience
    ) throws(PostgresError) -> PostgresConnection {
        var keywords: [UnsafePointer<CChar>?] = []
        var values: [UnsafePointer<CChar>?] = []
        var copies: [UnsafeMutablePointer<CChar>] = []
        defer {
            for copy in copies {
                explicit_bzero(copy, strlen(copy))
                free(copy)
            }
        }
        for setting in settings {
            guard let keyword = strdup(setting.keyword) else { throw .unreachable }
            copies.append(keyword)
            guard let value = strdup(setting.value) else { throw .unreachable }
            copies.append(value)
            keywords.append(UnsafePointer(keyword))
            values.append(UnsafePointer(value))
        }
        guard let handle = PQconnectStartParams(keywords + [nil], values + [nil], 0) else { throw .unreachable }
        let connection = PostgresConnection(handle, patience)
        // The answer is the code alone then, in no language, and with nothing of what the server thinks of us.
        PQsetErrorVerbosity(handle, PQERRORS_SQLSTATE)
        try connection.finishConnecting()
        return connection
    }

    private func finishConnecting() throws(PostgresError) {
        guard PQstatus(handle) != CONNECTION_BAD else { throw connectionFailure() }
        var state = PGRES_POLLING_WRITING
        while state != PGRES_POLLING_OK {
            guard state == PGRES_POLLING_READING || state == PGRES_POLLING_WRITING else { throw connectionFailure() }
            try wait(for: state == PGRES_POLLING_READING ? POLLIN : POLLOUT, sent: false)
            state = PQconnectPoll(handle)
        }
    }

    /// libpq keeps no code of a refused login, only text: its own, which is English as long as nobody sets a locale, and the
    /// server's, which is a severity and a code.
    private func connectionFailure() -> PostgresError {
        let text = String(cString: PQerrorMessage(handle))
        return PQconnectionNeedsPassword(handle) == 1 ? .passwordNeeded : Self.failure(to: text)
    }

    static func failure(to text: String) -> PostgresError {
        if let state = sqlState(in: text) { return .answered(sqlState: state, whileConnecting: true) }
        // A connection that ends says so in the words of TLS, and passes.
        let ended = ["SYSCALL", "closed", "unexpected eof", "timeout"].contains { text.contains($0) }
        return !ended && (text.contains("SSL") || text.contains("certificate")) ? .tls : .unreachable
    }

    /// The last code in a message such as `connection to server at "127.0.0.1", port 5432 failed: FATAL:  28P01`.
    static func sqlState(in text: String) -> String? {
        for line in text.split(separator: "\n").reversed() {
            guard let mark = line.lastIndex(of: ":") else { continue }
            let rest = line[line.index(after: mark)...].drop { $0 == " " }
            let isCode =
                rest.utf8.count == 5
                && rest.utf8.allSatisfy {
                    (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                        || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0)
                }
            if isCode { return String(rest) }
        }
        return nil
    }

    /// The major version, such as 15.
    package var serverVersion: Int { Int(PQserverVersion(handle)) / 10_000 }

    /// Whether the server asked for the password: it may let in whoever comes.
    package var usedPassword: Bool { PQconnectionUsedPassword(handle) == 1 }

    /// Carries out one statement, with text for `$1` and so on, and gives its rows.
    @discardableResult
    package func run(_ statement: String, _ arguments: [String] = []) throws(PostgresError) -> [[String?]] {
        let copies = arguments.map { strdup($0) }
        defer { for copy in copies { free(copy) } }
        let values = copies.map { UnsafePointer($0) }
        guard
            PQsendQueryParams(handle, statement, Int32(values.count), nil, values, nil, nil, 0) == 1
        else { throw .connectionLost(sent: true) }
        var rows: [[String?]] = []
        var failure: PostgresError?
        while true {
            while PQisBusy(handle) == 1 {
                try wait(for: POLLIN, sent: true)
                guard PQconsumeInput(handle) == 1 else { throw failure ?? .connectionLost(sent: true) }
            }
            guard let result = PQgetResult(handle) else { break }
            defer { PQclear(result) }
            switch PQresultStatus(result) {
            case PGRES_TUPLES_OK: rows = Self.rows(of: result)
            case PGRES_COMMAND_OK: break
            default:
                guard let state = keyturn_result_sqlstate(result) else {
                    failure = .connectionLost(sent: true)
                    continue
                }
                failure = .answered(sqlState: String(cString: state), whileConnecting: false)
            }
        }
        if let failure { throw failure }
        return rows
    }

    private static func rows(of result: OpaquePointer) -> [[String?]] {
        (0..<PQntuples(result)).map { row in
            (0..<PQnfields(result)).map { column in
                guard PQgetisnull(result, row, column) == 0, let text = PQgetvalue(result, row, column) else {
                    return nil
                }
                return String(cString: text)
            }
        }
    }

    /// A name, in quotation marks.
    package func quoted(identifier: String) throws(PostgresError) -> String {
        try take(PQescapeIdentifier(handle, identifier, identifier.utf8.count))
    }

    /// A text, in apostrophes.
    package func quoted(literal: String) throws(PostgresError) -> String {
        try take(PQescapeLiteral(handle, literal, literal.utf8.count))
    }

    private func take(_ text: UnsafeMutablePointer<CChar>?) throws(PostgresError) -> String {
        guard let text else { throw .badAnswer }
        defer { PQfreemem(text) }
        return String(cString: text)
    }

    private func wait(for event: Int32, sent: Bool) throws(PostgresError) {
        while true {
            let slice: Int32
            do throws(Patience.Interruption) { slice = try patience.slice() } catch {
                throw error == .cancelled ? .cancelled(sent: sent) : .timedOut(sent: sent)
            }
            var descriptor = pollfd(fd: PQsocket(handle), events: Int16(event), revents: 0)
            if poll(&descriptor, 1, slice) != 0 { return }
        }
    }
}
