import CCurl
import Foundation
import KeyturnCore

/// One request on its way. Used by the client's thread alone.
final class Transfer {
    let id: UInt64
    let request: HTTPRequest
    let handle: UnsafeMutableRawPointer
    private let finish: @Sendable (Result<HTTPResponse, HTTPError>) -> Void
    private var headerList: UnsafeMutablePointer<curl_slist>?
    private var body: [UInt8] = []
    private var headers = HTTPHeaders()
    private var trailers = HTTPHeaders()
    private var isPastHeaders = false
    private var isTooLarge = false
    private var isFinished = false
    /// The body of the request, for as long as libcurl may read it.
    private var outgoing: UnsafeMutableRawBufferPointer?

    init(
        id: UInt64, request: HTTPRequest, handle: UnsafeMutableRawPointer,
        finish: @escaping @Sendable (Result<HTTPResponse, HTTPError>) -> Void
    ) {
        self.id = id
        self.request = request
        self.handle = handle
        self.finish = finish
    }

    deinit {
        curl_slist_free_all(headerList)
        wipe()
    }

    /// Tells libcurl everything about the request.
    func prepare(userAgent: String) throws(HTTPError) {
        let address = try RequestAddress(request.url)
        guard address.scheme == "https" || address.isLoopback || request.tls.allowsInsecure else {
            throw .insecure(host: address.host)
        }
        curl_easy_reset(handle)
        string(CURLOPT_URL, request.url)
        string(CURLOPT_USERAGENT, userAgent)
        string(CURLOPT_PROTOCOLS_STR, "http,https")
        long(CURLOPT_NOSIGNAL, 1)
        long(CURLOPT_FOLLOWLOCATION, 0)
        long(CURLOPT_NOPROGRESS, 1)
        long(CURLOPT_PATH_AS_IS, 1)
        setTimeouts()
        request.tls.apply(to: handle)
        if request.http2PriorKnowledge {
            long(CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE))
        } else {
            long(CURLOPT_HTTP_VERSION, Int(CURL_HTTP_VERSION_2TLS))
        }
        if !request.mayRepeat { long(CURLOPT_FRESH_CONNECT, 1) }
        // A proxy would take what is meant for this machine elsewhere, and plain http in the clear.
        if request.bypassesProxy || address.isLoopback { string(CURLOPT_NOPROXY, "*") }
        setBody()
        try setHeaders()
        setCallbacks()
    }

    private func setTimeouts() {
        long(CURLOPT_CONNECTTIMEOUT_MS, request.timeouts.connect.milliseconds)
        long(CURLOPT_TIMEOUT_MS, request.timeouts.total.milliseconds)
        long(CURLOPT_LOW_SPEED_LIMIT, 1)
        long(CURLOPT_LOW_SPEED_TIME, max(1, request.timeouts.stall.milliseconds / 1000))
    }

    private func setBody() {
        let sent = request.body ?? (["POST", "PUT", "PATCH"].contains(request.method) ? SecretValue([]) : nil)
        if let sent {
            let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: max(1, sent.count), alignment: 1)
            sent.withUnsafeBytes { buffer.copyBytes(from: $0) }
            outgoing = buffer
            long(CURLOPT_POST, 1)
            keyturn_setopt_offset(handle, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(sent.count))
            keyturn_setopt_pointer(handle, CURLOPT_POSTFIELDS, buffer.baseAddress)
        } else if request.method == "HEAD" {
            long(CURLOPT_NOBODY, 1)
        }
        string(CURLOPT_CUSTOMREQUEST, request.method)
    }

    private func setHeaders() throws(HTTPError) {
        // libcurl would wait for a `100 Continue`, and claim a form where there is none.
        append("Expect:")
        var names: Set<String> = []
        for (name, value) in request.headers {
            guard !name.isEmpty, name.utf8.allSatisfy(Self.isTokenByte) else {
                throw .invalidRequest("a header's name holds a character that is not allowed")
            }
            names.insert(name.lowercased())
            let text: String
            switch value {
            case .plain(let plain): text = plain
            case .secret(let secret):
                guard let exposed = secret.exposedText() else {
                    throw .invalidRequest("the value of header \(name) is not text")
                }
                text = exposed
            }
            guard !text.utf8.contains(where: { $0 == 0x0A || $0 == 0x0D || $0 == 0 }) else {
                throw .invalidRequest("the value of header \(name) holds a line break")
            }
            append(text.isEmpty ? "\(name);" : "\(name): \(text)")
        }
        if !names.contains("content-type") { append("Content-Type:") }
        if !names.contains("accept") { append("Accept: */*") }
        keyturn_setopt_list(handle, CURLOPT_HTTPHEADER, headerList)
    }

    private func setCallbacks() {
        let context = Unmanaged.passUnretained(self).toOpaque()
        keyturn_setopt_pointer(handle, CURLOPT_PRIVATE, context)
        keyturn_setopt_pointer(handle, CURLOPT_WRITEDATA, context)
        keyturn_setopt_pointer(handle, CURLOPT_HEADERDATA, context)
        keyturn_setopt_data_callback(handle, CURLOPT_WRITEFUNCTION) { data, size, count, context in
            guard let data, let context else { return 0 }
            let transfer = Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
            return transfer.receive(UnsafeRawBufferPointer(start: data, count: size * count)) ? size * count : 0
        }
        keyturn_setopt_data_callback(handle, CURLOPT_HEADERFUNCTION) { data, size, count, context in
            guard let data, let context else { return 0 }
            let transfer = Unmanaged<Transfer>.fromOpaque(context).takeUnretainedValue()
            transfer.receiveHeader(UnsafeRawBufferPointer(start: data, count: size * count))
            return size * count
        }
    }

    private func receive(_ data: UnsafeRawBufferPointer) -> Bool {
        guard body.count + data.count <= request.maximumBody else {
            isTooLarge = true
            return false
        }
        body.append(contentsOf: data)
        return true
    }

    private func receiveHeader(_ data: UnsafeRawBufferPointer) {
        let line = String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
        if line.hasPrefix("HTTP/"), !isPastHeaders || body.isEmpty, !line.contains(": ") {
            // A new answer begins: the final one after an interim one.
            headers = HTTPHeaders()
            isPastHeaders = false
            return
        }
        guard !line.isEmpty else {
            isPastHeaders = true
            return
        }
        guard let colon = line.firstIndex(of: ":") else { return }
        let value = line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
        if isPastHeaders {
            trailers.append(String(line[..<colon]), value)
        } else {
            headers.append(String(line[..<colon]), value)
        }
    }

    /// The transfer came to its end, or libcurl gave up.
    func complete(_ code: CURLcode) {
        if code == CURLE_OK {
            var status = 0
            keyturn_getinfo_long(handle, CURLINFO_RESPONSE_CODE, &status)
            // libcurl takes headers that end with the connection for whole, and an interim answer for the final one.
            guard isPastHeaders, status >= 200 else { return end(.failure(.connectionLost(sent: true))) }
            end(
                .success(
                    HTTPResponse(status: status, headers: headers, trailers: trailers, body: SecretValue(body))))
        } else {
            end(.failure(failure(code)))
        }
    }

    func end(_ result: Result<HTTPResponse, HTTPError>) {
        guard !isFinished else { return }
        isFinished = true
        wipe()
        finish(result)
    }

    /// Whether the server may have got the request: bytes of it went out.
    var wasSent: Bool {
        var size = 0
        keyturn_getinfo_long(handle, CURLINFO_REQUEST_SIZE, &size)
        return size > 0
    }

    private func failure(_ code: CURLcode) -> HTTPError {
        if isTooLarge { return .bodyTooLarge(limit: request.maximumBody) }
        let host = (try? RequestAddress(request.url))?.authority ?? "the host"
        return HTTPError(code, host: host, sent: wasSent)
    }

    private func wipe() {
        if let outgoing {
            if let base = outgoing.baseAddress { explicit_bzero(base, outgoing.count) }
            outgoing.deallocate()
        }
        outgoing = nil
        for index in body.indices { body[index] = 0 }
        body = []
    }

    private func append(_ line: String) { headerList = curl_slist_append(headerList, line) }
    private func long(_ option: CURLoption, _ value: Int) { keyturn_setopt_long(handle, option, value) }
    private func string(_ option: CURLoption, _ value: String) { keyturn_setopt_string(handle, option, value) }

    /// RFC 9110, section 5.6.2.
    private static func isTokenByte(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default: "!#$%&'*+-.^_`|~".utf8.contains(byte)
        }
    }
}

extension Duration {
    var milliseconds: Int { Int(components.seconds) * 1000 + Int(components.attoseconds / 1_000_000_000_000_000) }
}
