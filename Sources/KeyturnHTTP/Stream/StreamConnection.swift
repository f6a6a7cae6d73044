import CCurl
package import KeyturnCore

#if canImport(Glibc)
    import Glibc
#endif

/// Bytes to and from a server that does not speak HTTP, over TCP, TLS or a socket of this machine, for one thread, which it
/// keeps waiting. libcurl makes the connection, as https://curl.se/libcurl/c/CURLOPT_CONNECT_ONLY.html says.
package final class StreamConnection {
    private let handle: UnsafeMutableRawPointer
    private let address: StreamAddress
    private let patience: Patience
    /// Whether anything went out.
    private var sent = false

    private init(_ handle: UnsafeMutableRawPointer, _ address: StreamAddress, _ patience: Patience) {
        self.handle = handle
        self.address = address
        self.patience = patience
    }

    deinit { curl_easy_cleanup(handle) }

    package static func open(
        _ address: StreamAddress, _ tls: TLSSettings, _ patience: Patience
    ) throws(HTTPError) -> StreamConnection {
        guard address.isSecure || address.isLocal || tls.allowsInsecure else { throw .insecure(host: address.host) }
        _ = HTTPClient.globalInit
        guard let handle = curl_easy_init() else { throw .invalidRequest("libcurl can't be set up") }
        let connection = StreamConnection(handle, address, patience)
        try connection.connect(tls)
        return connection
    }

    private func connect(_ tls: TLSSettings) throws(HTTPError) {
        if address.isSocket { keyturn_setopt_string(handle, CURLOPT_UNIX_SOCKET_PATH, address.host) }
        let place = address.isSocket ? "localhost" : address.authority
        keyturn_setopt_string(handle, CURLOPT_URL, "\(address.isSecure ? "https" : "http")://\(place)/")
        keyturn_setopt_string(handle, CURLOPT_PROTOCOLS_STR, "http,https")
        keyturn_setopt_string(handle, CURLOPT_NOPROXY, "*")
        keyturn_setopt_long(handle, CURLOPT_CONNECT_ONLY, 1)
        keyturn_setopt_long(handle, CURLOPT_NOSIGNAL, 1)
        // It is no HTTP that will be spoken.
        keyturn_setopt_long(handle, CURLOPT_SSL_ENABLE_ALPN, 0)
        tls.apply(to: handle)
        keyturn_setopt_long(handle, CURLOPT_NOPROGRESS, 0)
        keyturn_setopt_pointer(handle, CURLOPT_XFERINFODATA, Unmanaged.passUnretained(self).toOpaque())
        keyturn_setopt_progress_callback(handle) { context, _, _, _, _ in
            guard let context else { return 0 }
            let patience = Unmanaged<StreamConnection>.fromOpaque(context).takeUnretainedValue().patience
            return (try? patience.slice()) == nil ? 1 : 0
        }
        let code = curl_easy_perform(handle)
        guard code != CURLE_OK else { return }
        // The callback ends it for either reason.
        if code == CURLE_ABORTED_BY_CALLBACK { _ = try pause() }
        throw HTTPError(code, host: address.host, sent: false)
    }

    package func send(_ bytes: [UInt8]) throws(HTTPError) {
        var rest = bytes[...]
        while !rest.isEmpty {
            var count = 0
            let code = rest.withUnsafeBytes { curl_easy_send(handle, $0.baseAddress, $0.count, &count) }
            switch code {
            case CURLE_OK:
                sent = true
                rest = rest.dropFirst(count)
            case CURLE_AGAIN: try wait(for: POLLOUT)
            default: throw HTTPError(code, host: address.host, sent: sent)
            }
        }
    }

    /// What has come in, at least one byte.
    package func receive() throws(HTTPError) -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: 16 * 1024)
        while true {
            var count = 0
            let code = buffer.withUnsafeMutableBytes { curl_easy_recv(handle, $0.baseAddress, $0.count, &count) }
            switch code {
            case CURLE_OK where count > 0: return Array(buffer.prefix(count))
            case CURLE_OK: throw .connectionLost(sent: sent)
            // TLS may hold bytes back that the socket does not show: it was asked first.
            case CURLE_AGAIN: try wait(for: POLLIN)
            default: throw HTTPError(code, host: address.host, sent: sent)
            }
        }
    }

    private func wait(for event: Int32) throws(HTTPError) {
        var socket: curl_socket_t = -1
        keyturn_getinfo_socket(handle, &socket)
        guard socket >= 0 else { throw .connectionLost(sent: sent) }
        var descriptor = pollfd(fd: socket, events: Int16(event), revents: 0)
        while poll(&descriptor, 1, try pause()) == 0 {}
    }

    private func pause() throws(HTTPError) -> Int32 {
        do throws(Patience.Interruption) { return try patience.slice() } catch {
            throw error == .cancelled ? .cancelled(sent: sent) : .timedOut(sent: sent)
        }
    }
}
