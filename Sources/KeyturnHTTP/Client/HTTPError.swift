/// Why there is no answer.
package enum HTTPError: Error, Sendable, Equatable {
    /// The address or a header can't be sent.
    case invalidRequest(String)
    /// Plain HTTP to another machine.
    case insecure(host: String)
    case couldNotResolve(host: String)
    case couldNotConnect(host: String)
    case tls(String)
    /// - sent: whether the server may have got the request.
    case timedOut(sent: Bool)
    case connectionLost(sent: Bool)
    case bodyTooLarge(limit: Int)
    /// The answer is not HTTP.
    case protocolViolation
    case cancelled(sent: Bool)

    /// Whether the server may have acted on the request.
    package var mayHaveReachedServer: Bool {
        switch self {
        case .timedOut(let sent), .connectionLost(let sent), .cancelled(let sent): sent
        case .bodyTooLarge, .protocolViolation: true
        case .invalidRequest, .insecure, .couldNotResolve, .couldNotConnect, .tls: false
        }
    }
}

extension HTTPError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .invalidRequest(let reason): "the request can't be sent: \(reason)"
        case .insecure(let host): "plain http to \(host) is refused"
        case .couldNotResolve(let host): "the name \(host) can't be resolved"
        case .couldNotConnect(let host): "no connection to \(host)"
        case .tls(let reason): "no safe connection: \(reason)"
        case .timedOut(let sent): sent ? "no answer in time" : "no connection in time"
        case .connectionLost(let sent): sent ? "the connection was lost before the answer" : "the connection was lost"
        case .bodyTooLarge(let limit): "the answer is larger than \(limit) bytes"
        case .protocolViolation: "the answer is not HTTP"
        case .cancelled: "the request was cancelled"
        }
    }
}
