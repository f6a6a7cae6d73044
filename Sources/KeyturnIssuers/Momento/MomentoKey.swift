package import Foundation
package import KeyturnCore

/// A key or token of Momento, read for what it says of itself. Nothing about it is verified: that is Momento's to do.
///
/// The forms are those that Momento's clients tell apart: base64 of `{"endpoint", "api_key"}` (the first generation),
/// and JSON web tokens, whose claim `t` is `g` for the second generation and whose claims `c` and `cp` are hosts for the
/// legacy one. See `auth.ts` in https://github.com/momentohq/client-sdk-javascript.
package struct MomentoKey: Sendable, CustomStringConvertible, CustomReflectable {
    package enum Generation: Sendable {
        /// Of a whole account, with a role; it has no endpoint in it.
        case v2
        /// Of one cell, with its permissions inside.
        case v1
        /// As `v1`, from before the wrapping; none can be made any more.
        case legacy
    }

    package let generation: Generation
    /// What goes into the header `Authorization`.
    package let bearer: SecretValue
    /// The host of the cell, such as `cell-1-eu-west-1-1.prod.a.momentohq.com`, where the key says it.
    package let endpoint: String?
    /// The claim `jti`, which may be what the account's list calls it.
    package let identifier: String?
    package let issuedAt: Date?
    package let expiresAt: Date?

    private struct Wrapped: Decodable {
        let endpoint: String
        let apiKey: String

        enum CodingKeys: String, CodingKey {
            case endpoint
            case apiKey = "api_key"
        }
    }

    private struct Claims: Decodable {
        let t: String?
        let c: String?
        let jti: String?
        let iat: Double?
        let exp: Double?

        enum CodingKeys: CodingKey { case t, c, jti, iat, exp }

        /// A claim of another type is one that is not there.
        init(from decoder: any Decoder) throws {
            let container = try decoder.container(keyedBy: CodingKeys.self)
            t = try? container.decode(String.self, forKey: .t)
            c = try? container.decode(String.self, forKey: .c)
            jti = try? container.decode(String.self, forKey: .jti)
            iat = try? container.decode(Double.self, forKey: .iat)
            exp = try? container.decode(Double.self, forKey: .exp)
        }
    }

    package var description: String { "a Momento key (\(generation))" }
    package var customMirror: Mirror { Mirror(self, children: []) }

    /// Larger texts are no keys.
    private static let largest = 64 * 1024

    /// - Returns: `nil` for a text that is no key of Momento.
    package init?(_ text: SecretValue) {
        guard text.count <= Self.largest, let exposed = text.exposedText() else { return nil }
        // As the clients test it: what encodes to the same text again is base64.
        if let decoded = Data(base64Encoded: exposed), decoded.base64EncodedString() == exposed {
            guard let wrapped = try? JSONDecoder().decode(Wrapped.self, from: decoded), !wrapped.apiKey.isEmpty,
                Self.isHost(wrapped.endpoint)
            else { return nil }
            let claims = Self.claims(of: wrapped.apiKey)
            self.init(
                .v1, bearer: SecretValue(utf8: wrapped.apiKey), endpoint: wrapped.endpoint, claims)
            return
        }
        guard let claims = Self.claims(of: exposed) else { return nil }
        if claims.t == "g" {
            self.init(.v2, bearer: text, endpoint: nil, claims)
        } else if let host = claims.c, host.hasPrefix("cache."), Self.isHost(host) {
            self.init(.legacy, bearer: text, endpoint: String(host.dropFirst("cache.".count)), claims)
        } else {
            self.init(.v1, bearer: text, endpoint: nil, claims)
        }
    }

    private init(_ generation: Generation, bearer: SecretValue, endpoint: String?, _ claims: Claims?) {
        self.generation = generation
        self.bearer = bearer
        self.endpoint = endpoint
        identifier = claims?.jti
        issuedAt = claims?.iat.flatMap(Self.date)
        expiresAt = claims?.exp.flatMap(Self.date)
    }

    /// The text that consumers of the first generation are given.
    package static func wrapped(_ key: String, endpoint: String) -> SecretValue {
        var json = Array("{\"endpoint\":".utf8) + SecretValue(utf8: endpoint).jsonString
        json += Array(",\"api_key\":".utf8) + SecretValue(utf8: key).jsonString + [UInt8(ascii: "}")]
        defer { for index in json.indices { json[index] = 0 } }
        return SecretValue(utf8: Data(json).base64EncodedString())
    }

    /// Whether a text is a host name: what a key says is where it is sent to.
    package static func isHost(_ text: String) -> Bool {
        !text.isEmpty && text.utf8.count <= 253 && !text.hasPrefix(".") && !text.hasSuffix(".")
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                    UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."):
                    true
                default: false
                }
            }
    }

    /// Seconds since 1970; `nil` for what is no date before the year 10000.
    package static func date(_ seconds: Double) -> Date? {
        (1...253_402_214_400).contains(seconds) ? Date(timeIntervalSince1970: seconds) : nil
    }

    /// The payload of a JSON web token: RFC 7519, section 3.
    private static func claims(of text: String) -> Claims? {
        let parts = text.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, parts.allSatisfy({ !$0.isEmpty }) else { return nil }
        var payload = parts[1].replacingOccurrences(of: "-", with: "+").replacingOccurrences(of: "_", with: "/")
        payload += String(repeating: "=", count: (4 - payload.utf8.count % 4) % 4)
        return Data(base64Encoded: payload).flatMap { try? JSONDecoder().decode(Claims.self, from: $0) }
    }
}
