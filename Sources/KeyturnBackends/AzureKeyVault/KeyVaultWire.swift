import Foundation

/// What Key Vault answers: https://learn.microsoft.com/rest/api/keyvault/secrets
enum KeyVaultWire {
    struct Attributes: Codable {
        var enabled: Bool?
        /// Seconds since 1970.
        var exp: Int64?
        var created: Int64?
    }

    /// A version, with its value where it was asked for by name.
    struct Bundle: Decodable {
        let id: String
        let value: String?
        let attributes: Attributes?
        let tags: [String: String]?
        let contentType: String?
        /// Whether the service keeps it for a certificate.
        let managed: Bool?

        /// The last part of `https://VAULT/secrets/NAME/VERSION`.
        var version: String { id.split(separator: "/").last.map(String.init) ?? "" }

        var isEnabled: Bool { attributes?.enabled != false }
    }

    struct Page: Decodable {
        let value: [Bundle]?
        let nextLink: String?
    }

    struct Write: Encodable {
        let value: String
        let tags: [String: String]
        let contentType: String?
        let attributes: Attributes
    }

    struct Change: Encodable {
        var tags: [String: String]?
        var attributes: Attributes?
    }

    struct Refusal: Decodable {
        struct Inner: Decodable { let code: String? }
        struct Outer: Decodable {
            let code: String?
            let innererror: Inner?
        }
        let error: Outer?

        var codes: [String] { [error?.innererror?.code, error?.code].compactMap { $0 } }
    }
}
