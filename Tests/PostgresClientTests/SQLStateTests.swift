import Testing

@testable import PostgresClient

@Suite("What libpq says of a connection that failed")
struct SQLStateTests {
    @Test(arguments: [
        ("connection to server at \"127.0.0.1\", port 5432 failed: FATAL:  28P01\n", "28P01"),
        (
            "connection to server at \"::1\", port 5432 failed: Connection refused\n\tIs it there?\nfailed: SCHWER:  3D000\n",
            "3D000"
        ),
        (
            "connection to server at \"a\", port 1 failed: FATAL:  28000\nconnection to b failed: FATAL:  28P01\n",
            "28P01"
        ),
        ("connection to server on socket \"/run/.s.PGSQL.5432\" failed: No such file or directory\n", nil),
        ("fe_sendauth: no password supplied\n", nil), ("FATAL:  28p01\n", nil), ("FATAL:  28P011\n", nil), ("", nil),
        (":", nil),
    ])
    func holdsACode(text: String, code: String?) {
        #expect(PostgresConnection.sqlState(in: text) == code)
    }

    @Test(arguments: [
        (
            "connection to server at \"a\", port 1 failed: FATAL:  53300\n",
            PostgresError.answered(sqlState: "53300", whileConnecting: true)
        ),
        ("SSL error: certificate verify failed\n", .tls),
        ("server certificate for \"b\" does not match host name \"a\"\n", .tls),
        ("root certificate file \"/x\" does not exist\n", .tls),
        ("server does not support SSL, but SSL was required\n", .tls),
        ("SSL SYSCALL error: EOF detected\n", .unreachable),
        ("SSL connection has been closed unexpectedly\n", .unreachable),
        ("could not translate host name \"a\" to address\n", .unreachable), ("session is read-only\n", .unreachable),
    ])
    func tellsWhatFailed(text: String, failure: PostgresError) {
        #expect(PostgresConnection.failure(to: text) == failure)
    }
}
