package import Foundation
package import KeyturnCore

extension SystemError {
    /// A gRPC call without a message. The server's own words are never part of it.
    ///
    /// - Parameter system: how the system is called in the message.
    package init(_ error: GRPCError, from system: String, now: Date) {
        switch error {
        case .http(let error): self.init(error, from: system)
        case .answeredInHTTP(let response):
            self.init(
                status: response.status, of: response, from: system, now: now,
                advice: "it is not the service itself that answers; check the address and any proxy")
        case .malformed:
            self.init(.badAnswer, "\(system): the answer is not gRPC", mayHaveTakenEffect: true)
        case .status(let status, let response):
            self.init(status, retryAfter: response.retryAfter(now: now), from: system)
        }
    }

    private init(_ status: GRPCStatus, retryAfter: Double?, from system: String) {
        let (code, words, mayHaveTakenEffect): (Code, String, Bool) =
            switch status.code {
            case .invalidArgument, .outOfRange: (.badRequest, "the request was refused", false)
            case .failedPrecondition: (.conflict, "its state does not allow the call", false)
            case .alreadyExists: (.conflict, "it is there already", false)
            case .aborted: (.conflict, "something changed in between", false)
            case .notFound: (.notFound, "there is no such thing", false)
            case .permissionDenied: (.forbidden, "our credential lacks the right", false)
            case .unauthenticated: (.unauthorized, "our credential was refused", false)
            case .resourceExhausted: (.rateLimited, "a limit was reached", false)
            case .unimplemented: (.unsupported, "the service does not know the call", false)
            // None of these tells whether the call was carried out.
            case .deadlineExceeded: (.timedOut, "no answer in time", true)
            case .cancelled, .unavailable: (.unavailable, "the call broke off", true)
            case .internal, .unknown: (.unavailable, "the system is in trouble", true)
            case .dataLoss: (.badAnswer, "the answer was lost", true)
            // Without a message.
            case .ok: (.badAnswer, "the answer is empty", true)
            }
        self.init(
            code, "\(system): \(words) (gRPC \(status.code.rawValue))", mayHaveTakenEffect: mayHaveTakenEffect,
            retryAfter: retryAfter)
    }
}
