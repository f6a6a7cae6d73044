import Foundation
import KeyturnCore
import KeyturnHTTP
import Synchronization
import TestSupport
import Testing

#if canImport(Glibc)
    import Glibc
#endif

@Suite("The HTTP client")
struct HTTPClientTests {
    private let client: HTTPClient

    init() throws { client = try HTTPClient(userAgent: "keyturn-test/1") }

    private func request(_ url: String, _ method: String = "GET", body: String? = nil) -> HTTPRequest {
        HTTPRequest(method, url, body: body.map { SecretValue(utf8: $0) })
    }

    private func failure(_ request: HTTPRequest) async -> HTTPError? {
        do throws(HTTPError) {
            _ = try await client.execute(request)
            return nil
        } catch { return error }
    }

    /// A server that sends the same bytes to everybody and hangs up.
    private func server(_ bytes: String) throws -> TestServer {
        try TestServer { _, channel in
            channel.send(bytes)
            return .close
        }
    }

    // MARK: Answers

    @Test func givesStatusHeadersAndBody() async throws {
        let server = try server("HTTP/1.1 418 Teapot\r\nX-One: 1\r\nx-ONE:  2 \r\nContent-Length: 3\r\n\r\nabc")
        let response = try await client.execute(request(server.url()))
        #expect(response.status == 418)
        #expect(!response.isSuccess)
        #expect(response.body.exposedText() == "abc")
        #expect(response.headers.first("X-ONE") == "1")
        #expect(response.headers.all("x-one") == ["1", "2"])
        #expect(response.headers.first("absent") == nil)
        #expect(response.trailers.isEmpty)
    }

    @Test func everyAnswerIsObserved() async throws {
        let server = try server("HTTP/1.1 503 Busy\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0\r\n\r\n")
        let seen = Mutex<[String]>([])
        let client = try HTTPClient(userAgent: "keyturn-test/1") { request, response in
            seen.withLock { $0.append("\(request.method) \(response.status) \(response.headers.first("date") ?? "-")") }
        }
        _ = try await client.execute(request(server.url()))
        #expect(seen.withLock { $0 } == ["GET 503 Sun, 06 Nov 1994 08:49:37 GMT"])
    }

    @Test(arguments: [200, 201, 204, 299]) func successIsAnyTwoHundred(status: Int) async throws {
        let server = try server("HTTP/1.1 \(status) Fine\r\nConnection: close\r\n\r\n")
        let response = try await client.execute(request(server.url()))
        #expect(response.isSuccess && response.body.isEmpty)
    }

    @Test func readsChunksAndTrailers() async throws {
        let server = try server(
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-End\r\n\r\n"
                + "3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\nX-End: here\r\n\r\n")
        let response = try await client.execute(request(server.url()))
        #expect(response.body.exposedText() == "abcdefg")
        #expect(response.trailers.first("x-end") == "here")
        #expect(response.headers.first("x-end") == nil)
    }

    @Test func interimAnswersArePassedOver() async throws {
        let server = try server(
            "HTTP/1.1 103 Early Hints\r\nX-Early: 1\r\n\r\nHTTP/1.1 200 OK\r\nX-Late: 1\r\nContent-Length: 0\r\n\r\n")
        let response = try await client.execute(request(server.url()))
        #expect(response.status == 200)
        #expect(response.headers.first("x-early") == nil)
        #expect(response.headers.first("x-late") == "1")
    }

    @Test func aHeadHasNoBodyToWaitFor() async throws {
        let server = try server("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        let response = try await client.execute(request(server.url(), "HEAD"))
        #expect(response.status == 200 && response.body.isEmpty)
    }

    @Test(arguments: [301, 302, 303, 307, 308]) func redirectsAreNotFollowed(status: Int) async throws {
        let server = try TestServer { _, channel in
            channel.answer(status, headers: ["Location: /elsewhere"])
            return .keep
        }
        #expect(try await client.execute(request(server.url("/first"))).status == status)
        #expect(server.received.map(\.target) == ["/first"])
    }

    @Test func jsonIsGivenOnlyWhenItIsThat() async throws {
        let server = try server("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n{\"a\":1}")
        let response = try await client.execute(request(server.url()))
        #expect(response.decodeJSON([String: Int].self) == ["a": 1])
        #expect(response.decodeJSON([String].self) == nil)
    }

    // MARK: What is sent

    @Test func sendsWhatItIsToldAndLittleElse() async throws {
        let server = try TestServer { _, channel in
            channel.answer()
            return .keep
        }
        var asked = HTTPRequest("PUT", server.url("/a/../b%20c?x=1&y=%2F"), body: SecretValue([0, 255, 10]))
        asked.set("X-Plain", "one")
        asked.set("X-Secret", SecretValue(utf8: "s3cret"))
        asked.set("X-Empty", "")
        _ = try await client.execute(asked)
        let got = try #require(server.received.first)
        #expect(got.method == "PUT")
        #expect(got.target == "/a/../b%20c?x=1&y=%2F", "the path goes out as it is")
        #expect(got.body == [0, 255, 10])
        #expect(got.all("x-plain") == ["one"])
        #expect(got.all("x-secret") == ["s3cret"])
        #expect(got.all("x-empty") == [""])
        #expect(got.all("host") == ["127.0.0.1:\(server.port)"])
        #expect(got.all("user-agent") == ["keyturn-test/1"])
        #expect(got.all("accept") == ["*/*"])
        #expect(got.all("content-length") == ["3"])
        #expect(got.all("content-type").isEmpty && got.all("expect").isEmpty)
        #expect(got.all("accept-encoding").isEmpty)
    }

    @Test(arguments: ["POST", "PUT", "PATCH"]) func anEmptyBodyHasALength(method: String) async throws {
        let server = try TestServer { _, channel in
            channel.answer()
            return .keep
        }
        _ = try await client.execute(request(server.url(), method))
        #expect(server.received.map { $0.all("content-length") } == [["0"]])
        #expect(server.received.map(\.method) == [method])
    }

    @Test(arguments: ["GET", "DELETE", "LIST"]) func othersHaveNoBodyUnlessTheyAreGivenOne(method: String) async throws
    {
        let server = try TestServer { _, channel in
            channel.answer()
            return .keep
        }
        _ = try await client.execute(request(server.url(), method))
        _ = try await client.execute(request(server.url(), method, body: "x"))
        #expect(server.received.map { $0.all("content-length") } == [[], ["1"]])
        #expect(server.received.map(\.method) == [method, method])
    }

    @Test func aLargeBodyGoesBothWays() async throws {
        let server = try TestServer { request, channel in
            channel.send("HTTP/1.1 200 OK\r\nContent-Length: \(request.body.count)\r\n\r\n")
            channel.send(request.body)
            return .keep
        }
        let bytes = (0..<(8 << 20)).map { UInt8(truncatingIfNeeded: $0 &* 31) }
        var asked = HTTPRequest("POST", server.url(), body: SecretValue(bytes))
        asked.maximumBody = bytes.count
        let answered = try await client.execute(asked)
        let isSame = answered.body.exposedBytes() == bytes
        #expect(isSame)
    }

    // MARK: Refused before anything is sent

    @Test(
        arguments: [
            ("X", "a\r\nInjected: 1"), ("X", "a\nb"), ("X", "a\rb"), ("X", "a\u{0}b"), ("X\r\nInjected", "a"),
            ("X:", "a"), ("", "a"), ("X Y", "a"), ("Ü", "a"),
        ])
    func headersCanNotBeInjected(name: String, value: String) async throws {
        let server = try TestServer { _, _ in .close }
        for secret in [false, true] {
            var asked = request(server.url())
            if secret { asked.set(name, SecretValue(utf8: value)) } else { asked.set(name, value) }
            guard case .invalidRequest(let reason)? = await failure(asked) else {
                Issue.record("\(name): \(value) was sent")
                continue
            }
            #expect(!reason.contains("Injected: 1"))
        }
        #expect(server.connections == 0)
    }

    @Test func aHeaderThatIsNotTextIsRefused() async throws {
        var asked = request("http://127.0.0.1:1/")
        asked.set("X", SecretValue([0xFF]))
        #expect(await failure(asked) == .invalidRequest("the value of header X is not text"))
    }

    @Test(arguments: ["http://example.com/", "http://10.0.0.1/", "http://127.0.0.1.example.com/", "http://[::2]/"])
    func plainHTTPStaysOnThisMachine(url: String) async throws {
        let error = await failure(request(url))
        #expect(error == .insecure(host: try RequestAddress(url).host))
        #expect(error?.mayHaveReachedServer == false)
    }

    @Test func plainHTTPGoesFurtherWhenItIsAllowed() async throws {
        let server = try TestServer { _, channel in
            channel.answer(200, "yes")
            return .keep
        }
        // The unspecified address leads to this machine and is not of the loopback network.
        let url = "http://0.0.0.0:\(server.port)/"
        #expect(await failure(request(url)) == .insecure(host: "0.0.0.0"))
        let asked = HTTPRequest("GET", url, tls: TLSSettings(allowsInsecure: true))
        #expect(try await client.execute(asked).body.exposedText() == "yes")
    }

    @Test(arguments: [
        "http://user:pass@127.0.0.1/", "http://user@127.0.0.1/", "ftp://127.0.0.1/", "file:///etc/passwd", "127.0.0.1",
        "", "http://", "http:///x", "http://127.0.0.1/a b", "http://127.0.0.1/\r\nX: 1", "gopher://127.0.0.1/",
    ])
    func addressesThatLeadElsewhereAreRefused(url: String) async throws {
        guard case .invalidRequest(let reason)? = await failure(request(url)) else {
            Issue.record("\(url) was not refused")
            return
        }
        #expect(!reason.contains("pass@") && !reason.contains("user@"))
    }

    // MARK: Answers that are none

    @Test func nobodyThere() async throws {
        let port = try Loopback.closedPort()
        let error = await failure(request("http://127.0.0.1:\(port)/"))
        #expect(error == .couldNotConnect(host: "127.0.0.1:\(port)"))
        #expect(error?.mayHaveReachedServer == false)
    }

    @Test func anUnknownNameIsSaid() async throws {
        let asked = HTTPRequest("GET", "http://nowhere.invalid/", tls: TLSSettings(allowsInsecure: true))
        #expect(await failure(asked) == .couldNotResolve(host: "nowhere.invalid"))
    }

    @Test(arguments: [
        "", "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ])
    func anAnswerThatIsCutIsNoAnswer(bytes: String) async throws {
        let server = try server(bytes)
        let error = await failure(request(server.url()))
        #expect(error == .connectionLost(sent: true))
        #expect(error?.mayHaveReachedServer == true)
    }

    @Test(arguments: [
        "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nContent-Le", "HTTP/1.1 200 OK\r\nX: 1\r\n",
        "HTTP/1.1 100 Continue\r\n\r\n",
    ])
    func headersThatAreCutAreNoAnswer(bytes: String) async throws {
        let server = try server(bytes)
        let error = await failure(request(server.url()))
        #expect(error == .connectionLost(sent: true))
    }

    @Test(arguments: ["SSH-2.0-OpenSSH_9.2\r\n", "<html>hello</html>\n", "\u{16}\u{3}\u{1}"])
    func anAnswerThatIsNotHTTPIsAViolation(bytes: String) async throws {
        let server = try server(bytes)
        let error = await failure(request(server.url(), "POST", body: "make a key"))
        #expect(error == .protocolViolation)
        #expect(error?.mayHaveReachedServer == true)
    }

    // MARK: Limits

    @Test(arguments: [true, false]) func anAnswerUpToTheLimitIsTaken(isChunked: Bool) async throws {
        let server = try TestServer { request, channel in
            let length = Int(request.target.dropFirst()) ?? 0
            let body = String(repeating: "x", count: length)
            if isChunked {
                channel.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                channel.send("\(String(length, radix: 16))\r\n\(body)\r\n0\r\n\r\n")
            } else {
                channel.answer(200, body)
            }
            return .close
        }
        var asked = request(server.url("/1000"))
        asked.maximumBody = 1000
        #expect(try await client.execute(asked).body.count == 1000)
        asked.url = server.url("/1001")
        #expect(await failure(asked) == .bodyTooLarge(limit: 1000))
        #expect(await failure(asked)?.mayHaveReachedServer == true)
    }

    @Test func aServerThatDoesNotAnswerIsGivenUp() async throws {
        let server = try TestServer { _, channel in
            channel.waitForClose()
            return .close
        }
        var asked = request(server.url())
        asked.timeouts.total = .seconds(2)
        #expect(await failure(asked) == .timedOut(sent: true))
        #expect(server.received.count == 1)
    }

    @Test func aTransferThatStandsStillIsGivenUp() async throws {
        let server = try TestServer { _, channel in
            channel.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
            channel.waitForClose()
            return .close
        }
        var asked = request(server.url())
        asked.timeouts.stall = .seconds(1)
        #expect(await failure(asked) == .timedOut(sent: true))
    }

    /// The queue of a port that nobody accepts from is filled, so that the next one to connect gets no answer.
    @Test func aConnectionThatDoesNotComeAboutIsGivenUp() async throws {
        let (listener, port) = try Loopback.listen(backlog: 0)
        let fillers = try (0..<8).map { _ in try Loopback.beginToConnect(to: port) }
        defer { for descriptor in fillers + [listener] { close(descriptor) } }
        var asked = request("http://127.0.0.1:\(port)/")
        asked.timeouts.connect = .milliseconds(300)
        let error = await failure(asked)
        #expect(error == .timedOut(sent: false))
        #expect(error?.mayHaveReachedServer == false)
    }

    // MARK: Cancellation

    @Test func aCancelledRequestReturnsAndSaysThatItWasSent() async throws {
        let server = try TestServer { _, channel in
            channel.waitForClose()
            return .close
        }
        let asked = request(server.url())
        let task = Task { await failure(asked) }
        await server.waitForRequests(1)
        task.cancel()
        #expect(await task.value == .cancelled(sent: true))
    }

    @Test func aRequestOfACancelledTaskIsNotWaitedFor() async throws {
        let server = try TestServer { _, channel in
            channel.waitForClose()
            return .close
        }
        let asked = request(server.url())
        let task = Task {
            withUnsafeCurrentTask { $0?.cancel() }
            return await failure(asked)
        }
        guard case .cancelled? = await task.value else {
            Issue.record("it was not cancelled")
            return
        }
    }

    @Test func oneThatIsCancelledDoesNotDisturbOthers() async throws {
        let server = try TestServer { request, channel in
            if request.target == "/slow" {
                channel.waitForClose()
                return .close
            }
            channel.answer(200, "fine")
            return .keep
        }
        let slow = request(server.url("/slow"))
        let task = Task { await failure(slow) }
        await server.waitForRequests(1)
        task.cancel()
        #expect(try await client.execute(request(server.url("/quick"))).body.exposedText() == "fine")
        #expect(await task.value == .cancelled(sent: true))
    }

    @Test func shutdownEndsWhatIsOnItsWayAndRefusesTheRest() async throws {
        let server = try TestServer { _, channel in
            channel.waitForClose()
            return .close
        }
        let asked = request(server.url())
        let task = Task { await failure(asked) }
        await server.waitForRequests(1)
        client.shutdown()
        #expect(await task.value == .cancelled(sent: true))
        #expect(await failure(asked) == .cancelled(sent: false))
        #expect(server.received.count == 1)
    }

    // MARK: Connections

    @Test func connectionsAreUsedAgain() async throws {
        let server = try TestServer { _, channel in
            channel.answer(200, "x")
            return .keep
        }
        for _ in 0..<5 { _ = try await client.execute(request(server.url())) }
        #expect(server.received.map(\.connection) == [1, 1, 1, 1, 1])
    }

    @Test func aConnectionThatTheServerClosedIsReplaced() async throws {
        let server = try TestServer { _, channel in
            channel.answer(200, "x")
            return .close
        }
        for _ in 0..<5 { #expect(try await client.execute(request(server.url())).body.exposedText() == "x") }
        #expect(server.received.count == 5)
        #expect(server.connections == 5)
    }

    @Test func twoHundredAtOnceGetTheirOwnAnswers() async throws {
        let server = try TestServer { request, channel in
            channel.answer(200, request.target)
            return .keep
        }
        let answers = try await withThrowingTaskGroup(of: (Int, String?).self) { group in
            for number in 0..<200 {
                let asked = request(server.url("/\(number)"))
                group.addTask { (number, try await client.execute(asked).body.exposedText()) }
            }
            return try await group.reduce(into: [Int: String?]()) { $0[$1.0] = $1.1 }
        }
        #expect(answers.count == 200)
        for (number, text) in answers { #expect(text == "/\(number)") }
        #expect(server.received.count == 200)
    }

    // MARK: Printing

    @Test func neitherRequestNorAnswerPrintsWhatItHolds() async throws {
        var asked = HTTPRequest("POST", "https://h.example/p?token=CANARY#CANARY", body: SecretValue(utf8: "CANARY"))
        asked.set("Authorization", "CANARY")
        asked.set("X-Token", SecretValue(utf8: "CANARY"))
        let answer = HTTPResponse(
            status: 200, headers: HTTPHeaders([("x", "CANARY")]), trailers: HTTPHeaders(),
            body: SecretValue(utf8: "CANARY"))
        var dumped = ""
        dump(asked, to: &dumped)
        dump(answer, to: &dumped)
        for text in [dumped, "\(asked)", String(reflecting: asked), "\(answer)", String(reflecting: answer)] {
            #expect(!text.contains("CANARY"), "\(text)")
        }
        #expect("\(asked)" == "POST https://h.example/p")
        #expect("\(answer)" == "HTTP 200, 6 bytes")
    }

    @Test func everyFailureSaysWhetherTheServerMayHaveActed() {
        let cases: [(HTTPError, Bool, String)] = [
            (.invalidRequest("x"), false, "the request can't be sent: x"),
            (.insecure(host: "h"), false, "plain http to h is refused"),
            (.couldNotResolve(host: "h"), false, "the name h can't be resolved"),
            (.couldNotConnect(host: "h"), false, "no connection to h"),
            (.tls("x"), false, "no safe connection: x"),
            (.timedOut(sent: true), true, "no answer in time"),
            (.timedOut(sent: false), false, "no connection in time"),
            (.connectionLost(sent: true), true, "the connection was lost before the answer"),
            (.connectionLost(sent: false), false, "the connection was lost"),
            (.bodyTooLarge(limit: 9), true, "the answer is larger than 9 bytes"),
            (.protocolViolation, true, "the answer is not HTTP"),
            (.cancelled(sent: true), true, "the request was cancelled"),
            (.cancelled(sent: false), false, "the request was cancelled"),
        ]
        for (error, mayHave, words) in cases {
            #expect(error.mayHaveReachedServer == mayHave, "\(error)")
            #expect("\(error)" == words)
        }
    }
}
