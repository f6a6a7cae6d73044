import Foundation
import KeyturnCore
import KeyturnHTTP
import Testing

@Suite("What HTTP failures mean")
struct HTTPFailureTests {
    private func error(_ status: Int, _ headers: [(name: String, value: String)] = []) -> SystemError {
        let response = HTTPResponse(
            status: status, headers: HTTPHeaders(headers), trailers: HTTPHeaders(), body: SecretValue(utf8: "CANARY"))
        return SystemError(
            status: status, of: response, from: "Vault at h", now: Date(timeIntervalSince1970: 1_800_000_000))
    }

    @Test func everyStatusHasItsMeaning() {
        let meanings: [(ClosedRange<Int>, SystemError.Code, SystemError.Disposition)] = [
            (300...399, .badAnswer, .permanent), (400...400, .badRequest, .permanent),
            (401...401, .unauthorized, .permanent), (403...403, .forbidden, .permanent),
            (404...404, .notFound, .permanent), (408...408, .unavailable, .passing),
            (409...409, .conflict, .permanent), (410...410, .notFound, .permanent),
            (412...412, .conflict, .permanent), (413...415, .badRequest, .permanent),
            (422...422, .badRequest, .permanent), (425...425, .unavailable, .passing),
            (429...429, .rateLimited, .passing), (500...599, .unavailable, .passing),
        ]
        for (statuses, code, disposition) in meanings {
            for status in statuses {
                let error = error(status)
                #expect(error.code == code && error.disposition == disposition, "\(status): \(error)")
                #expect(error.mayHaveTakenEffect == (status >= 500), "\(status)")
                #expect(error.message.hasPrefix("Vault at h: ") && error.message.hasSuffix("(HTTP \(status))"))
                #expect(!"\(error)".contains("CANARY"))
            }
        }
    }

    @Test func theWaitIsTakenOver() {
        #expect(error(429, [("Retry-After", "7")]).retryAfter == 7)
        #expect(error(503, [("retry-after", "Fri, 15 Jan 2027 08:00:30 GMT")]).retryAfter == 30)
        #expect(error(503).retryAfter == nil)
    }

    @Test func failuresWithoutAnAnswerHaveTheirMeaning() {
        let meanings: [(HTTPError, SystemError.Code, SystemError.Disposition)] = [
            (.invalidRequest("x"), .misconfigured, .permanent), (.insecure(host: "h"), .misconfigured, .permanent),
            (.couldNotResolve(host: "h"), .unreachable, .passing),
            (.couldNotConnect(host: "h"), .unreachable, .passing),
            (.tls("x"), .tls, .permanent), (.timedOut(sent: true), .timedOut, .passing),
            (.connectionLost(sent: true), .unreachable, .passing), (.bodyTooLarge(limit: 1), .badAnswer, .passing),
            (.protocolViolation, .badAnswer, .passing), (.cancelled(sent: false), .cancelled, .passing),
        ]
        for (failure, code, disposition) in meanings {
            let error = SystemError(failure, from: "Vault at h")
            #expect(error.code == code && error.disposition == disposition, "\(failure)")
            #expect(error.mayHaveTakenEffect == failure.mayHaveReachedServer)
            #expect(error.message == "Vault at h: \(failure)")
        }
    }
}
