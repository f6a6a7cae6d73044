/// Whether a host is on the link alone, where metadata services answer: 169.254.0.0/16, RFC 3927.
enum LinkLocal {
    static func contains(_ host: String) -> Bool {
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "169" && parts[1] == "254" && parts.allSatisfy { UInt8($0) != nil }
    }
}
