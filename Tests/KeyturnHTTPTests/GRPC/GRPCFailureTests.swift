import Foundation
import KeyturnCore
import KeyturnHTTP
import Testing

@Suite("What gRPC failures mean")
struct GRPCFailureTests {
    private let now = Date(timeIntervalSince1970: 1_800_000_000)

    private func error(_ code: Int, _ headers: [(name: String, value: String)] = []) throws -> SystemError {
        let lines = [("grpc-status", String(code)), ("grpc-message", "CANARY")] + headers
        let response = HTTPResponse(
            status: 200, headers: HTTPHeaders(lines), trailers: HTTPHeaders(), body: SecretValue(utf8: "CANARY"))
        return SystemError(.status(try #require(GRPCStatus(response.headers)), response), from: "Momento", now: now)
    }

    @Test func everyCodeHasItsMeaning() throws {
        let meanings: [Int: (SystemError.Code, SystemError.Disposition, mayHaveTakenEffect: Bool)] = [
            0: (.badAnswer, .passing, true), 1: (.unavailable, .passing, true), 2: (.unavailable, .passing, true),
            3: (.badRequest, .permanent, false), 4: (.timedOut, .passing, true), 5: (.notFound, .permanent, false),
            6: (.conflict, .permanent, false), 7: (.forbidden, .permanent, false), 8: (.rateLimited, .passing, false),
            9: (.conflict, .permanent, false), 10: (.conflict, .permanent, false), 11: (.badRequest, .permanent, false),
            12: (.unsupported, .permanent, false), 13: (.unavailable, .passing, true),
            14: (.unavailable, .passing, true), 15: (.badAnswer, .passing, true),
            16: (.unauthorized, .permanent, false), 17: (.unavailable, .passing, true),
        ]
        for (code, (meaning, disposition, mayHaveTakenEffect)) in meanings {
            let error = try error(code)
            #expect(error.code == meaning && error.disposition == disposition, "\(code): \(error)")
            #expect(error.mayHaveTakenEffect == mayHaveTakenEffect, "\(code)")
            #expect(error.message.hasPrefix("Momento: ") && error.message.contains("(gRPC "))
            #expect(!"\(error)".contains("CANARY"))
        }
    }

    @Test func theWaitIsTakenOver() throws {
        #expect(try error(8, [("retry-after", "7")]).retryAfter == 7)
        #expect(try error(8).retryAfter == nil)
    }

    @Test func whatIsNoAnswerOfTheServiceSaysSo() {
        let proxy = HTTPResponse(
            status: 502, headers: HTTPHeaders(), trailers: HTTPHeaders(), body: SecretValue(utf8: "CANARY"))
        let answered = SystemError(.answeredInHTTP(proxy), from: "Momento", now: now)
        #expect(answered.code == .unavailable && answered.mayHaveTakenEffect && answered.message.contains("502"))
        #expect(!"\(answered)".contains("CANARY"))
        let malformed = SystemError(.malformed, from: "Momento", now: now)
        #expect(malformed.code == .badAnswer && malformed.mayHaveTakenEffect)
        let lost = SystemError(.http(.connectionLost(sent: true)), from: "Momento", now: now)
        #expect(lost.code == .unreachable && lost.mayHaveTakenEffect)
    }
}
