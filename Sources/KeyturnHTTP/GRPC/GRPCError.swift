/// Why a call has no message.
package enum GRPCError: Error, Sendable {
    /// There was no answer.
    case http(HTTPError)
    /// Something that is not the service answered, with this status.
    case answeredInHTTP(HTTPResponse)
    /// The service said no.
    case status(GRPCStatus, HTTPResponse)
    /// The answer is not gRPC.
    case malformed
}
