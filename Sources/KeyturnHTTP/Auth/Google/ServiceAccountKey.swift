// Members are named as the service names them.
// swift-format-ignore-file: AlwaysUseLowerCamelCase

import CryptoExtras
package import Foundation
package import KeyturnCore

/// A key of a Google service account, in the JSON file in which Google hands it out.
///
/// Source: "Create and delete service account keys", cloud.google.com/iam/docs/keys-create-delete.
package struct ServiceAccountKey: Sendable {
    package let clientEmail: String
    package let keyID: String
    /// Where its assertions become tokens, as the file says.
    package let tokenURI: String?
    /// PEM, PKCS #8.
    package let privateKey: SecretValue
    private let signer: _RSA.Signing.PrivateKey

    private struct Wire: Decodable {
        let type: String?
        let client_email: String?
        let private_key_id: String?
        let private_key: String?
        let token_uri: String?
    }

    /// - Throws: `misconfigured`, with nothing of the file.
    package init(_ file: SecretValue) throws(SystemError) {
        func unusable(_ reason: String, _ advice: String = "") -> SystemError {
            SystemError(.misconfigured, "a service account's key file \(reason)", advice: advice)
        }
        guard let wire = file.withUnsafeBytes({ try? JSONDecoder().decode(Wire.self, from: Data($0)) }) else {
            throw unusable("is not JSON")
        }
        guard wire.type == "service_account" else {
            throw unusable(
                "is of another type", "name the JSON key of a service account, or use the machine's metadata server")
        }
        guard let email = wire.client_email, Self.isWord(email), let id = wire.private_key_id, Self.isWord(id),
            let pem = wire.private_key
        else { throw unusable("lacks client_email, private_key_id or private_key") }
        guard let signer = try? _RSA.Signing.PrivateKey(pemRepresentation: pem) else {
            throw unusable("holds no RSA key of 2048 bits or more")
        }
        clientEmail = email
        keyID = id
        tokenURI = wire.token_uri
        privateKey = SecretValue(utf8: pem)
        self.signer = signer
    }

    /// Whether it may be shown: an address or an id, and nothing that came in its place.
    private static func isWord(_ text: String) -> Bool {
        (1...320).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+.:@-".utf8.contains(byte)
            }
    }

    /// The only audience that Google's token endpoint takes.
    private static let audience = "https://oauth2.googleapis.com/token"
    /// How long an assertion may be used at most, in seconds.
    private static let life = 3600

    private struct Header: Encodable {
        let alg = "RS256"
        let kid: String
        let typ = "JWT"
    }

    private struct Claims: Encodable {
        let aud: String
        let exp: Int64
        let iat: Int64
        let iss: String
        let scope: String
    }

    /// A JWT that shows who asks, for one hour.
    ///
    /// Source: "Using OAuth 2.0 for server to server applications", developers.google.com/identity/protocols.
    package func assertion(scope: String, at date: Date) throws(SystemError) -> SecretValue {
        let now = Int64(date.timeIntervalSince1970)
        let claims = Claims(
            aud: Self.audience, exp: now + Int64(Self.life), iat: now, iss: clientEmail, scope: scope)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        guard let header = try? encoder.encode(Header(kid: keyID)), let body = try? encoder.encode(claims) else {
            throw SystemError(.local, "an assertion can't be written")
        }
        let content = "\(Self.base64url(header)).\(Self.base64url(body))"
        guard let signature = try? signer.signature(for: Data(content.utf8), padding: .insecurePKCS1v1_5) else {
            throw SystemError(.local, "an assertion can't be signed")
        }
        return SecretValue(utf8: "\(content).\(Self.base64url(signature.rawRepresentation))")
    }

    private static func base64url(_ data: Data) -> String {
        data.base64EncodedString().replacing("+", with: "-").replacing("/", with: "_").replacing("=", with: "")
    }
}
