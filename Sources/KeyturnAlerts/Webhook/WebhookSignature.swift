import Crypto
import Foundation
import KeyturnCore

/// The signature headers of Standard Webhooks 1.0.0:
/// https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
struct WebhookSignature {
    private static let prefix = "whsec_"

    private let key: SymmetricKey

    /// - Parameter secret: `whsec_` and base64 of 24 to 64 bytes.
    init(secret: SecretValue) throws(SystemError) {
        guard let text = secret.exposedText(), text.hasPrefix(Self.prefix),
            let bytes = Data(base64Encoded: String(text.dropFirst(Self.prefix.count))), (24...64).contains(bytes.count)
        else {
            throw SystemError(
                .misconfigured, "the webhook's signing key is not `whsec_` and base64 of 24 to 64 bytes",
                advice: "make one with `echo whsec_$(openssl rand -base64 32)`")
        }
        key = SymmetricKey(data: bytes)
    }

    /// `v1,` and the base64 of HMAC-SHA256 over id, timestamp and body.
    func sign(id: String, timestamp: Int64, body: Data) -> String {
        let text = Data("\(id).\(timestamp).".utf8) + body
        return "v1," + Data(HMAC<SHA256>.authenticationCode(for: text, using: key)).base64EncodedString()
    }
}
