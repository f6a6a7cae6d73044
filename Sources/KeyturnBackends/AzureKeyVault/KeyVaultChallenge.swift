import KeyturnHTTP

/// The `WWW-Authenticate` header with which Key Vault says who gives out tokens for it.
///
/// Source: "Authentication, requests and responses", learn.microsoft.com/azure/key-vault/general.
struct KeyVaultChallenge: Equatable {
    /// What tokens are asked for, such as `https://vault.azure.net`.
    let resource: String
    /// The tenant that the vault belongs to.
    let tenant: String?

    /// `nil` for anything but a challenge for a bearer token for a resource.
    init?(header: String) {
        let words = header.split(separator: " ", maxSplits: 1)
        guard words.count == 2, words[0].lowercased() == "bearer" else { return nil }
        var parameters: [String: String] = [:]
        for item in words[1].split(separator: ",") {
            let halves = item.split(separator: "=", maxSplits: 1)
            guard halves.count == 2 else { continue }
            parameters[Self.bare(halves[0]).lowercased()] = Self.bare(halves[1])
        }
        guard var resource = parameters["resource"] ?? parameters["scope"] else { return nil }
        if resource.hasSuffix("/.default") { resource.removeLast("/.default".count) }
        resource = RequestAddress.base(resource)
        guard !resource.isEmpty else { return nil }
        self.resource = resource
        let authority = parameters["authorization"] ?? parameters["authorization_uri"] ?? ""
        // https://HOST/TENANT
        let parts = authority.split(separator: "/")
        tenant = parts.count > 2 ? String(parts[2]) : nil
    }

    private static func bare(_ text: Substring) -> String {
        String(text.drop { $0 == " " || $0 == "\"" }.reversed().drop { $0 == " " || $0 == "\"" }.reversed())
    }
}
