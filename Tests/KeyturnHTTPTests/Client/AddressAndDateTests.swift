import Foundation
import KeyturnHTTP
import TestSupport
import Testing

@Suite("Addresses of requests")
struct RequestAddressTests {
    @Test(
        arguments: [
            ("http://h", "http", "h", "h", "/", nil),
            ("https://H.example/p/q?x=1&y", "https", "H.example", "H.example", "/p/q", "x=1&y"),
            ("https://h:443/", "https", "h", "h", "/", nil), ("http://h:80/", "http", "h", "h", "/", nil),
            ("https://h:80/", "https", "h", "h:80", "/", nil),
            ("HTTP://h:8080/a%2Fb", "http", "h", "h:8080", "/a%2Fb", nil),
            ("http://[::1]:8200/v1", "http", "::1", "[::1]:8200", "/v1", nil),
            ("https://[::1]/", "https", "::1", "[::1]", "/", nil), ("https://h?q", "https", "h", "h", "/", "q"),
            ("https://h/a/../b", "https", "h", "h", "/a/../b", nil),
        ] as [(String, String, String, String, String, String?)])
    func areTakenApart(
        url: String, scheme: String, host: String, authority: String, path: String, query: String?
    ) throws {
        let address = try RequestAddress(url)
        #expect(address.scheme == scheme)
        #expect(address.host == host)
        #expect(address.authority == authority)
        #expect(address.path == path)
        #expect(address.query == query)
    }

    @Test(
        arguments: [
            ("http://localhost/", true), ("http://LOCALHOST:1/", true), ("http://127.0.0.1/", true),
            ("http://127.255.255.255/", true), ("http://[::1]/", true), ("http://127.0.0.1.example/", false),
            ("http://128.0.0.1/", false), ("http://127.1/", false), ("http://127.0.0.256/", false),
            ("http://0.0.0.0/", false), ("http://localhost.example/", false), ("http://[::2]/", false),
            ("http://1127.0.0.1/", false), ("http://127.0.0.1.1/", false), ("http://example.com/127.0.0.1", false),
        ])
    func loopbackIsThisMachineAlone(url: String, isLoopback: Bool) throws {
        #expect(try RequestAddress(url).isLoopback == isLoopback)
    }
}

@Suite("Dates and waits in headers")
struct RetryAfterTests {
    @Test(arguments: [
        "Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994",
    ])
    func allThreeFormsAreRead(text: String) throws {
        #expect(HTTPDate.parse(text) == (try instant("1994-11-06T08:49:37Z")))
    }

    @Test func aYearOfTwoDigitsIsNear() throws {
        #expect(HTTPDate.parse("Friday, 01-Jan-27 00:00:00 GMT") == (try instant("2027-01-01T00:00:00Z")))
        #expect(HTTPDate.parse("Thursday, 01-Jan-70 00:00:00 GMT") == Date(timeIntervalSince1970: 0))
    }

    @Test(arguments: [
        "", "now", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 CET", "Sun, 32 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nob 1994 08:49:37 GMT", "Sun, 06 Nov 1994 24:49:37 GMT", "Sun, 06 Nov 1994 08:60:37 GMT",
        "Sun, 06 Nov 1994 08:49 GMT", "Sun, 06 Nov 1994 08:49:37:01 GMT", "Sun, x Nov 1994 08:49:37 GMT",
        "Sun, 06 Nov 99999 08:49:37 GMT", "1994-11-06T08:49:37Z", "Sun, 00 Nov 1994 08:49:37 GMT",
    ])
    func anythingElseIsNoDate(text: String) {
        #expect(HTTPDate.parse(text) == nil)
    }

    @Test(
        arguments: [
            ("0", 0), ("5", 5), (" 120 ", 120), ("86400", 86_400), ("86401", 86_400),
            ("99999999999999999999999999", 86_400), ("Fri, 15 Jan 2027 08:01:30 GMT", 90),
            ("Fri, 15 Jan 2027 07:00:00 GMT", 0), ("Fri, 15 Jan 2038 08:00:00 GMT", 86_400), ("-1", nil), ("1.5", nil),
            ("", nil), ("soon", nil), ("+5", nil), ("5s", nil), ("\u{0665}", nil),
        ] as [(String, Double?)])
    func waitsAreReadAndBounded(text: String, expected: Double?) {
        #expect(RetryAfter.seconds(text, now: Date(timeIntervalSince1970: 1_800_000_000)) == expected)
    }
}
