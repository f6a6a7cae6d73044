import CCurl

extension HTTPError {
    /// What libcurl gave up with: https://curl.se/libcurl/c/libcurl-errors.html
    ///
    /// - Parameter sent: whether anything went out.
    init(_ code: CURLcode, host: String, sent: @autoclosure () -> Bool) {
        switch code {
        case CURLE_URL_MALFORMAT: self = .invalidRequest("its address is malformed")
        case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY: self = .couldNotResolve(host: host)
        case CURLE_COULDNT_CONNECT: self = .couldNotConnect(host: host)
        case CURLE_OPERATION_TIMEDOUT: self = .timedOut(sent: sent())
        case CURLE_PEER_FAILED_VERIFICATION:
            self = .tls("the certificate of \(host) is not trusted or not for this host")
        case CURLE_SSL_CACERT_BADFILE: self = .tls("the file of certificate authorities can't be read")
        case CURLE_SSL_CERTPROBLEM: self = .tls("our client certificate or its key can't be used")
        case CURLE_SSL_CONNECT_ERROR: self = .tls("\(host) does not agree to a TLS connection")
        // An unsupported protocol is that of the answer: the address was looked at before.
        case CURLE_WEIRD_SERVER_REPLY, CURLE_UNSUPPORTED_PROTOCOL, CURLE_HTTP2: self = .protocolViolation
        case CURLE_ABORTED_BY_CALLBACK: self = .cancelled(sent: sent())
        default: self = .connectionLost(sent: sent())
        }
    }
}
