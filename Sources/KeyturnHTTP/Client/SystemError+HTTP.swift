package import Foundation
package import KeyturnCore

extension SystemError {
    /// A request that got no answer.
    ///
    /// - Parameter system: how the system is called in the message, such as `Vault at 127.0.0.1:8200`.
    package init(_ error: HTTPError, from system: String) {
        let code: Code
        var advice = ""
        switch error {
        case .invalidRequest:
            code = .misconfigured
        case .insecure:
            code = .misconfigured
            advice = "use https://, or set `allowInsecure: true` where the network is trusted"
        case .couldNotResolve, .couldNotConnect:
            code = .unreachable
            advice = "check the address and whether the system runs"
        case .tls:
            code = .tls
            advice = "check the certificate, or name its authority with `caFile`"
        case .timedOut: code = .timedOut
        case .connectionLost: code = .unreachable
        case .bodyTooLarge, .protocolViolation: code = .badAnswer
        case .cancelled: code = .cancelled
        }
        self.init(
            code, "\(system): \(error)", advice: advice, mayHaveTakenEffect: error.mayHaveReachedServer)
    }

    /// An answer whose status says no. The answer's text is never part of it.
    package init(status: Int, of response: HTTPResponse, from system: String, now: Date, advice: String = "") {
        let retryAfter = response.retryAfter(now: now)
        let (code, words): (Code, String) =
            switch status {
            case 400, 405, 406, 411, 413, 414, 415, 422: (.badRequest, "the request was refused")
            case 401: (.unauthorized, "our credential was refused")
            case 403: (.forbidden, "our credential lacks the right")
            case 404, 410: (.notFound, "there is no such thing")
            case 409, 412: (.conflict, "something changed in between")
            case 408, 425: (.unavailable, "the system asks to try again")
            case 429: (.rateLimited, "too many requests")
            case 500...599: (.unavailable, "the system is in trouble")
            case 300...399: (.badAnswer, "a redirect was answered, which is not followed")
            default: (.badAnswer, "an unexpected status was answered")
            }
        self.init(
            code, "\(system): \(words) (HTTP \(status))", advice: advice,
            disposition: (300...399).contains(status) ? .permanent : nil,
            mayHaveTakenEffect: status >= 500, retryAfter: retryAfter)
    }
}
