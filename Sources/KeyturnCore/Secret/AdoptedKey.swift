package import Foundation

/// Why a file holds no key that can be taken over. Nothing of the file is part of it.
package struct InvalidAdoptedKey: Error, Equatable {
    package let reason: String

    package init(reason: String) { self.reason = reason }
}

/// A key in one of the forms in which consoles hand it out.
package enum AdoptedKey {
    private struct Wire: Decodable {
        let apiKey: String?
        let authToken: String?
        let value: String?
        let accessKeyId: String?
        let secretAccessKey: String?
        let keyId: String?
        let validUntil: Moment?
    }

    /// Epoch seconds as a number or a text, or RFC 3339.
    private enum Moment: Decodable {
        case at(Date)

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            if let seconds = try? container.decode(Double.self) {
                self = .at(Date(timeIntervalSince1970: seconds))
                return
            }
            let text = try container.decode(String.self)
            if let seconds = Double(text) {
                self = .at(Date(timeIntervalSince1970: seconds))
            } else {
                self = .at(try Date(text, strategy: .iso8601))
            }
        }

        var date: Date {
            switch self {
            case .at(let date): date
            }
        }
    }

    /// The latest end that is believed: 9999-12-31.
    private static let latest = Date(timeIntervalSince1970: 253_402_214_400)

    package static func parse(_ content: SecretValue, now: Date) throws(InvalidAdoptedKey) -> IssuedKey {
        guard let text = content.exposedText()?.trimmingCharacters(in: .whitespacesAndNewlines), !text.isEmpty else {
            throw InvalidAdoptedKey(reason: "the file holds no key")
        }
        guard text.hasPrefix("{") else {
            return IssuedKey(
                material: KeyMaterial(value: SecretValue(utf8: text)), keyID: nil, issuedAt: now, expiresAt: nil)
        }
        guard let wire = try? JSONDecoder().decode(Wire.self, from: Data(text.utf8)) else {
            throw InvalidAdoptedKey(reason: "the file's JSON is not one that a key is handed out in")
        }
        let expiresAt = wire.validUntil?.date
        if let expiresAt, !(expiresAt <= latest) {
            throw InvalidAdoptedKey(reason: "the file's validUntil is no date before the year 10000")
        }
        if let expiresAt, expiresAt <= now { throw InvalidAdoptedKey(reason: "the key has expired already") }
        if let id = wire.accessKeyId, let secret = wire.secretAccessKey, !id.isEmpty, !secret.isEmpty {
            return IssuedKey(
                material: KeyMaterial(accessKeyID: id, secretAccessKey: secret), keyID: id, issuedAt: now,
                expiresAt: expiresAt)
        }
        guard let value = wire.apiKey ?? wire.authToken ?? wire.value, !value.isEmpty else {
            throw InvalidAdoptedKey(reason: "the file's JSON has none of apiKey, authToken, value, accessKeyId")
        }
        return IssuedKey(
            material: KeyMaterial(value: SecretValue(utf8: value)), keyID: wire.keyId, issuedAt: now,
            expiresAt: expiresAt)
    }
}
