package import KeyturnCore

/// Unary calls of gRPC over HTTP/2: one message goes out, one comes back.
///
/// The wire is that of https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md. Over TLS the protocol is agreed
/// upon by ALPN; a server on plain http, which is this machine's own, is spoken to in HTTP/2 from the first byte.
package struct GRPCClient: Sendable {
    private let http: HTTPClient
    private let address: String
    private let tls: TLSSettings
    private let timeout: Int

    /// - Parameters:
    ///   - address: scheme, host and port.
    ///   - timeout: seconds that one call may take; the server is told.
    package init(_ http: HTTPClient, address: String, tls: TLSSettings, timeout: Int) {
        self.http = http
        self.address = RequestAddress.base(address)
        self.tls = tls
        self.timeout = timeout
    }

    /// Calls a method and waits for its answer.
    ///
    /// - Parameters:
    ///   - method: `/PACKAGE.SERVICE/METHOD`.
    ///   - message: the encoded message.
    ///   - metadata: further headers, with names in lower case.
    ///   - mayRepeat: whether it may reach the server twice.
    /// - Returns: the encoded message of the answer.
    package func call(
        _ method: String, _ message: SecretValue, metadata: [(name: String, value: SecretValue)] = [],
        mayRepeat: Bool = false
    ) async throws(GRPCError) -> SecretValue {
        var request = HTTPRequest("POST", address + method, body: GRPCFrame.framed(message), tls: tls)
        request.mayRepeat = mayRepeat
        request.http2PriorKnowledge = address.lowercased().hasPrefix("http://")
        request.timeouts.total = .seconds(timeout)
        request.set("Content-Type", "application/grpc")
        // Without it servers reset the stream.
        request.set("te", "trailers")
        request.set("grpc-timeout", "\(timeout)S")
        for (name, value) in metadata { request.set(name, value) }
        let response: HTTPResponse
        do throws(HTTPError) { response = try await http.execute(request) } catch { throw .http(error) }
        return try Self.message(of: response)
    }

    /// The message that an answer carries.
    package static func message(of response: HTTPResponse) throws(GRPCError) -> SecretValue {
        // What lies between, such as a proxy, answers in HTTP alone.
        guard response.status == 200 else { throw .answeredInHTTP(response) }
        guard response.headers.first("content-type")?.lowercased().hasPrefix("application/grpc") == true else {
            throw .malformed
        }
        // An answer without a message has its status among the headers.
        guard let status = GRPCStatus(response.trailers) ?? GRPCStatus(response.headers) else { throw .malformed }
        guard status.code == .ok else { throw .status(status, response) }
        guard let message = GRPCFrame.message(in: response.body) else { throw .malformed }
        return message
    }
}
