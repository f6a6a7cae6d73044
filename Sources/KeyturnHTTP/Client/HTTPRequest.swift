package import KeyturnCore

/// A request to an HTTP system. Described, it shows method and address without query, and no header or body.
package struct HTTPRequest: Sendable, CustomStringConvertible, CustomReflectable {
    package enum HeaderValue: Sendable {
        case plain(String)
        case secret(SecretValue)
    }

    package struct Timeouts: Sendable {
        /// Until the connection stands, TLS included.
        package var connect: Duration = .seconds(10)
        /// For the whole request.
        package var total: Duration = .seconds(30)
        /// For how long the transfer may stand still.
        package var stall: Duration = .seconds(15)

        package init() {}
    }

    package var method: String
    package var url: String
    package var headers: [(name: String, value: HeaderValue)]
    package var body: SecretValue?
    package var timeouts = Timeouts()
    package var tls = TLSSettings()
    /// The largest answer that is accepted, in bytes.
    package var maximumBody = 8 * 1024 * 1024
    /// HTTP/2 without TLS and without an upgrade, as gRPC servers on loopback speak it.
    package var http2PriorKnowledge = false
    /// Whether it may reach the server twice. libcurl sends a request again by itself when a connection that it had kept
    /// dies before an answer; one that must not be repeated goes out on a new connection, which rules that out.
    /// RFC 9110, section 9.2.2, says which methods may be.
    package var mayRepeat: Bool
    /// For metadata services, which no proxy may see.
    package var bypassesProxy = false

    package init(
        _ method: String, _ url: String, headers: [(name: String, value: HeaderValue)] = [], body: SecretValue? = nil,
        tls: TLSSettings = TLSSettings()
    ) {
        self.method = method
        self.url = url
        self.headers = headers
        self.body = body
        self.tls = tls
        mayRepeat = ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"].contains(method)
    }

    package mutating func set(_ name: String, _ value: String) { headers.append((name, .plain(value))) }
    package mutating func set(_ name: String, _ value: SecretValue) { headers.append((name, .secret(value))) }

    package var description: String { "\(method) \(url.prefix { $0 != "?" && $0 != "#" })" }
    package var customMirror: Mirror { Mirror(self, children: []) }
}

/// How far a server is trusted.
package struct TLSSettings: Sendable, Hashable {
    /// PEM file of certificate authorities in place of the system's.
    package var caFile: String?
    /// PEM files with which we show who we are.
    package var certificateFile: String?
    package var keyFile: String?
    /// The same three as texts, which go before the files.
    package var caPEM: PEMText?
    package var certificatePEM: PEMText?
    package var keyPEM: PEMText?
    /// Whether the server's certificate may be anybody's. It is verified all the same unless `allowsInsecure`.
    package var skipsVerification = false
    /// Whether plain `http://` may go further than this machine.
    package var allowsInsecure = false

    package init(
        caFile: String? = nil, certificateFile: String? = nil, keyFile: String? = nil, allowsInsecure: Bool = false
    ) {
        self.caFile = caFile
        self.certificateFile = certificateFile
        self.keyFile = keyFile
        self.allowsInsecure = allowsInsecure
    }
}

/// Certificates or a key in PEM, which may be secret.
package struct PEMText: Sendable, Hashable {
    package let value: SecretValue

    package init(_ value: SecretValue) { self.value = value }

    package static func == (left: PEMText, right: PEMText) -> Bool { left.value.matches(right.value) }

    package func hash(into hasher: inout Hasher) { hasher.combine(value.count) }
}
