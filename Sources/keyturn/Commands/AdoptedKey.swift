import Foundation
import KeyturnCore

/// A key in one of the forms in which consoles hand it out.
enum AdoptedKey {
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

    /// - Throws: ``CommandFailure``; nothing of the content is part of it.
    static func parse(_ content: SecretValue, now: Date) throws(CommandFailure) -> IssuedKey {
        guard let text = content.exposedText()?.trimmingCharacters(in: .whitespacesAndNewlines), !text.isEmpty else {
            throw CommandFailure(.failed, "the file holds no key")
        }
        guard text.hasPrefix("{") else {
            return IssuedKey(
                material: KeyMaterial(value: SecretValue(utf8: text)), keyID: nil, issuedAt: now, expiresAt: nil)
        }
        guard let wire = try? JSONDecoder().decode(Wire.self, from: Data(text.utf8)) else {
            throw CommandFailure(.failed, "the file's JSON is not one that a key is handed out in")
        }
        let expiresAt = wire.validUntil?.date
        if let expiresAt, expiresAt <= now { throw CommandFailure(.failed, "the key has expired already") }
        if let id = wire.accessKeyId, let secret = wire.secretAccessKey {
            let value = SecretValue(utf8: "{\"accessKeyId\":\"\(id)\",\"secretAccessKey\":\"\(secret)\"}")
            let fields = ["accessKeyId": SecretValue(utf8: id), "secretAccessKey": SecretValue(utf8: secret)]
            return IssuedKey(
                material: KeyMaterial(value: value, fields: fields), keyID: id, issuedAt: now, expiresAt: expiresAt)
        }
        guard let value = wire.apiKey ?? wire.authToken ?? wire.value, !value.isEmpty else {
            throw CommandFailure(.failed, "the file's JSON has none of apiKey, authToken, value, accessKeyId")
        }
        return IssuedKey(
            material: KeyMaterial(value: SecretValue(utf8: value)), keyID: wire.keyId, issuedAt: now,
            expiresAt: expiresAt)
    }
}
