/// A failure of an outside system (issuer, backend, alert sink, verification), said without any value.
///
/// It answers the three questions the engine has: try again or not, may the effect have happened all the same, and
/// what should a person do. It never carries the system's raw answer.
package struct SystemError: Error, Sendable, Equatable {
    /// A stable word for logs, metrics and `lastError`.
    package enum Code: String, Sendable, Codable, CaseIterable {
        /// The system refused our own credential (401, or 403 with an invalid-token answer).
        case unauthorized
        /// The credential is good and lacks the right (403).
        case forbidden
        case notFound
        /// Somebody else changed the thing, or holds it; re-read and decide.
        case conflict
        /// The system refuses the value itself (too long, too weak): issue anew instead of retrying.
        case rejectedValue
        case badRequest
        /// 429 or a throttling answer.
        case rateLimited
        /// A fixed quota is used up, such as two access keys a user.
        case limitExceeded
        /// 5xx, sealed, in maintenance.
        case unavailable
        case timedOut
        /// No connection: refused, unknown host, network down.
        case unreachable
        case tls
        /// The answer was cut, too large, not JSON or not what the interface promises.
        case badAnswer
        /// The system lacks the power that was asked for.
        case unsupported
        case misconfigured
        case cancelled
        /// A local file, directory or program failed.
        case local
        /// The change has not spread yet.
        case notYet
        /// The circuit breaker is open: the system failed repeatedly and is left alone for a while.
        case circuitOpen
    }

    /// Whether another try can help.
    package enum Disposition: String, Sendable, Codable {
        case passing
        case permanent
    }

    package let code: Code
    package let disposition: Disposition
    /// Whether the request may have been carried out although no answer says so: an unknown outcome.
    package let mayHaveTakenEffect: Bool
    /// What the system asked for with `Retry-After`, in seconds.
    package let retryAfter: Double?
    /// What happened: one sentence without values.
    package let message: String
    /// What to do about it; empty when there is nothing to say.
    package let advice: String

    package init(
        _ code: Code, _ message: String, advice: String = "", disposition: Disposition? = nil,
        mayHaveTakenEffect: Bool = false, retryAfter: Double? = nil
    ) {
        self.code = code
        self.message = message
        self.advice = advice
        self.disposition = disposition ?? code.usualDisposition
        self.mayHaveTakenEffect = mayHaveTakenEffect
        self.retryAfter = retryAfter
    }
}

extension SystemError.Code {
    /// What holds for the code unless the thrower knows better.
    package var usualDisposition: SystemError.Disposition {
        switch self {
        case .rateLimited, .unavailable, .timedOut, .unreachable, .badAnswer, .cancelled, .notYet, .circuitOpen:
            .passing
        case .unauthorized, .forbidden, .notFound, .conflict, .rejectedValue, .badRequest, .limitExceeded, .tls,
            .unsupported, .misconfigured, .local:
            .permanent
        }
    }
}

extension SystemError: CustomStringConvertible {
    package var description: String {
        advice.isEmpty ? "\(message) [\(code.rawValue)]" : "\(message) [\(code.rawValue)]; \(advice)"
    }
}
