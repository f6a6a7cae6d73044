import Foundation
import KeyturnCore

/// The parts of a URL that decide whether a request may be sent.
package struct RequestAddress: Sendable {
    package let scheme: String
    package let host: String
    /// Host with the port where it is not the scheme's own, as the `Host` header has it.
    package let authority: String
    package let path: String
    /// Without the question mark; `nil` when there is none.
    package let query: String?

    package init(_ url: String) throws(HTTPError) {
        guard url.utf8.allSatisfy({ $0 > 0x20 && $0 != 0x7F }) else {
            throw .invalidRequest("its address holds a space or a control character")
        }
        guard let parts = URLComponents(string: url), let scheme = parts.scheme?.lowercased(),
            let host = parts.host, !host.isEmpty
        else { throw .invalidRequest("its address has no scheme or no host") }
        guard scheme == "http" || scheme == "https" else {
            throw .invalidRequest("its address begins with neither http:// nor https://")
        }
        guard parts.user == nil, parts.password == nil else {
            throw .invalidRequest("its address holds a user name or a password")
        }
        self.scheme = scheme
        self.host = host.hasPrefix("[") ? String(host.dropFirst().dropLast()) : host
        let usual = scheme == "https" ? 443 : 80
        let shown = self.host.contains(":") ? "[\(self.host)]" : self.host
        authority = parts.port.map { $0 == usual ? shown : "\(shown):\($0)" } ?? shown
        path = parts.percentEncodedPath.isEmpty ? "/" : parts.percentEncodedPath
        query = parts.percentEncodedQuery
    }

    /// An address without the slashes at its end, to put paths behind.
    package static func base(_ address: String) -> String {
        String(address.reversed().drop { $0 == "/" }.reversed())
    }

    /// Whether the host is this machine: `localhost`, 127.0.0.0/8 or ::1.
    package var isLoopback: Bool { Loopback.contains(host) }
}
