/// Whether a host is this machine: what is sent there leaves it for nobody to read.
package enum Loopback {
    /// - Parameter host: a name or an address, with or without the brackets of IPv6: `localhost`, 127.0.0.0/8, `::1`.
    package static func contains(_ host: String) -> Bool {
        if ["localhost", "::1", "[::1]"].contains(host.lowercased()) { return true }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }
}
