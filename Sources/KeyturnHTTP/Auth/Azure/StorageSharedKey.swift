import Crypto
package import Foundation
package import KeyturnCore

/// Signs requests to Azure Storage with a key of the account, for the blob, queue and file services.
///
/// Source: "Authorize with Shared Key", learn.microsoft.com/rest/api/storageservices, in the form of version 2015-02-21
/// and later.
package struct StorageSharedKey: Sendable {
    private let account: String
    private let key: SymmetricKey

    /// - Parameter key: as Azure hands it out, in base64; `nil` for anything else.
    package init?(account: String, key: SecretValue) {
        guard let bytes = key.withUnsafeBytes({ Data(base64Encoded: Data($0)) }), !bytes.isEmpty else { return nil }
        self.account = account
        self.key = SymmetricKey(data: bytes)
    }

    private static let signedHeaders = [
        "content-encoding", "content-language", "content-length", "content-md5", "content-type", "date",
        "if-modified-since", "if-match", "if-none-match", "if-unmodified-since", "range",
    ]

    /// Gives the request with its date and signature.
    ///
    /// - Parameter date: the time that the service sees, UTC; it may differ by 15 minutes.
    package func sign(_ request: HTTPRequest, at date: Date) throws(HTTPError) -> HTTPRequest {
        var signed = request
        signed.set("x-ms-date", HTTPDate.format(date))
        let address = try RequestAddress(signed.url)
        var headers: [String: String] = [:]
        for (name, value) in signed.headers {
            if case .plain(let text) = value { headers[name.lowercased()] = text.trimmingCharacters(in: .whitespaces) }
        }
        if let body = signed.body, body.count > 0 { headers["content-length"] = String(body.count) }
        let own = headers.filter { $0.key.hasPrefix("x-ms-") }.sorted { $0.key < $1.key }
        let lines =
            [signed.method] + Self.signedHeaders.map { headers[$0] ?? "" } + own.map { "\($0.key):\($0.value)" }
            + ["/\(account)\(address.path)"] + Self.query(address.query)
        let code = HMAC<SHA256>.authenticationCode(for: Data(lines.joined(separator: "\n").utf8), using: key)
        signed.set("Authorization", "SharedKey \(account):\(Data(code).base64EncodedString())")
        return signed
    }

    /// A line for each parameter, its name in lower case, its values decoded, sorted and joined.
    private static func query(_ query: String?) -> [String] {
        var values: [String: [String]] = [:]
        for part in (query ?? "").split(separator: "&") {
            let halves = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = decoded(halves.first ?? "").lowercased()
            values[name, default: []].append(decoded(halves.count > 1 ? halves[1] : ""))
        }
        return values.sorted { $0.key < $1.key }.map { "\($0.key):\($0.value.sorted().joined(separator: ","))" }
    }

    private static func decoded(_ text: Substring) -> String { String(text).removingPercentEncoding ?? String(text) }
}
