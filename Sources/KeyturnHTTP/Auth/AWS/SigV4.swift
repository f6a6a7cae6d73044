import Crypto
package import Foundation
import KeyturnCore

/// AWS Signature Version 4.
///
/// Source: "Create a signed AWS API request" in the AWS IAM user guide. It is done here and not by libcurl, whose
/// version on Debian 12 neither sorts the query nor encodes the path as the service does.
package struct SigV4: Sendable {
    package let credentials: AWSCredentials
    package let region: String
    package let service: String

    package init(credentials: AWSCredentials, region: String, service: String) {
        self.credentials = credentials
        self.region = region
        self.service = service
    }

    /// Headers that a proxy or libcurl may change on the way, so that they are not signed.
    private static let unsigned: Set<String> = [
        "connection", "expect", "te", "trailer", "transfer-encoding", "upgrade", "user-agent", "x-amzn-trace-id",
        "keep-alive", "proxy-authorization", "proxy-authenticate", "authorization",
    ]

    /// Gives the request with its date, token and signature.
    ///
    /// - Parameter date: the time that the service sees, UTC.
    package func sign(_ request: HTTPRequest, at date: Date) throws(HTTPError) -> HTTPRequest {
        var signed = request
        let stamp = Self.stamp(date)
        signed.set("X-Amz-Date", stamp)
        if let token = credentials.sessionToken { signed.set("X-Amz-Security-Token", token) }
        let address = try RequestAddress(signed.url)
        let (names, lines) = Self.headers(signed, address)
        let bodyHash = SHA256.hash(data: Data((signed.body ?? SecretValue([])).exposedBytes())).hexadecimal
        let canonical = [
            signed.method, Self.path(address.path), Self.query(address.query), lines, names, bodyHash,
        ].joined(separator: "\n")
        let day = String(stamp.prefix(8))
        let scope = "\(day)/\(region)/\(service)/aws4_request"
        let text = [
            "AWS4-HMAC-SHA256", stamp, scope, SHA256.hash(data: Data(canonical.utf8)).hexadecimal,
        ].joined(separator: "\n")
        let signature = Self.hmac(SymmetricKey(data: key(day)), text).hexadecimal
        signed.set(
            "Authorization",
            "AWS4-HMAC-SHA256 Credential=\(credentials.accessKeyID)/\(scope), SignedHeaders=\(names), Signature=\(signature)"
        )
        return signed
    }

    private func key(_ day: String) -> [UInt8] {
        let first = credentials.secretAccessKey.withUnsafeBytes { SymmetricKey(data: Data("AWS4".utf8) + Data($0)) }
        var key = Self.hmac(first, day)
        for part in [region, service, "aws4_request"] { key = Self.hmac(SymmetricKey(data: key), part) }
        return key
    }

    private static func hmac(_ key: SymmetricKey, _ text: String) -> [UInt8] {
        Array(HMAC<SHA256>.authenticationCode(for: Data(text.utf8), using: key))
    }

    /// `YYYYMMDDTHHMMSSZ`.
    private static func stamp(_ date: Date) -> String {
        date.formatted(.iso8601).replacing("-", with: "").replacing(":", with: "")
    }

    private static func headers(_ request: HTTPRequest, _ address: RequestAddress) -> (names: String, lines: String) {
        var values: [String: [String]] = ["host": [address.authority]]
        for (name, value) in request.headers {
            let lower = name.lowercased()
            guard !unsigned.contains(lower) else { continue }
            let text: String =
                switch value {
                case .plain(let text): text
                case .secret(let secret): secret.exposedText() ?? ""
                }
            if lower == "host" { values[lower] = [] }
            // Runs of spaces count as one.
            values[lower, default: []].append(text.split(separator: " ").joined(separator: " "))
        }
        let sorted = values.sorted { $0.key < $1.key }
        return (
            sorted.map(\.key).joined(separator: ";"),
            sorted.map { "\($0.key):\($0.value.joined(separator: ","))\n" }.joined()
        )
    }

    /// The path with dot segments removed, as the service resolves it, and encoded once more.
    private static func path(_ path: String) -> String {
        var segments: [Substring] = []
        for segment in path.split(separator: "/", omittingEmptySubsequences: true) {
            switch segment {
            case ".": continue
            case "..": _ = segments.popLast()
            default: segments.append(segment)
            }
        }
        let joined = "/" + segments.joined(separator: "/")
        return encode(joined.count > 1 && path.hasSuffix("/") ? joined + "/" : joined, keepingSlash: true)
    }

    /// Names and values encoded, sorted by name and then by value.
    private static func query(_ query: String?) -> String {
        guard let query, !query.isEmpty else { return "" }
        let pairs = query.split(separator: "&").map { part -> (String, String) in
            let halves = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let value = halves.count > 1 ? halves[1] : ""
            return (reencode(halves.first ?? ""), reencode(value))
        }
        return pairs.sorted { $0 < $1 }.map { "\($0.0)=\($0.1)" }.joined(separator: "&")
    }

    private static func reencode(_ text: Substring) -> String {
        encode(String(text).removingPercentEncoding ?? String(text), keepingSlash: false)
    }

    static func encode(_ text: String, keepingSlash: Bool) -> String {
        text.utf8.reduce(into: "") { result, byte in
            switch byte {
            case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                result.unicodeScalars.append(Unicode.Scalar(byte))
            case UInt8(ascii: "/") where keepingSlash: result.append("/")
            default: result += "%" + [byte].hexadecimal.uppercased()
            }
        }
    }
}
