import KeyturnCore

/// Where a server is that does not speak HTTP.
package struct StreamAddress: Sendable, Equatable {
    /// A name or an address, without brackets; a path for a socket of this machine.
    package let host: String
    /// 0 for a socket of this machine.
    package let port: Int
    package let isSecure: Bool

    package init(host: String, port: Int, isSecure: Bool) {
        self.host = host
        self.port = port
        self.isSecure = isSecure
    }

    package var isSocket: Bool { host.hasPrefix("/") }
    package var isLocal: Bool { isSocket || Loopback.contains(host) }

    /// As a URL has it.
    package var authority: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}
