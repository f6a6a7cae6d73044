import Foundation
import KeyturnCore

/// What Momento's console lets one download, in the shapes that it has had: `{"apiKey", "refreshToken", "validUntil"}`,
/// with `authToken` for `apiKey` in older ones, or the key alone as text. See the README of
/// https://github.com/momentohq/api-key-refresh-lambda.
struct MomentoConsoleFile {
    let text: SecretValue
    let key: MomentoKey
    let refreshToken: SecretValue?
    /// The host of the cell, where the file says it beside the key.
    let endpoint: String?
    /// The account's name for the key, where the file says it.
    let keyID: String?
    /// `nil` when neither the file nor the key says it.
    let expiresAt: Date?

    private struct Wire: Decodable {
        let apiKey: String?
        let authToken: String?
        let refreshToken: String?
        let endpoint: String?
        let keyId: String?
        let validUntil: Moment?
    }

    /// Epoch seconds as a number or a text; 0, "Infinity" and an empty text stand for no end.
    private enum Moment: Decodable {
        case at(Double)
        case never

        init(from decoder: any Decoder) throws {
            let container = try decoder.singleValueContainer()
            var seconds = try? container.decode(Double.self)
            if seconds == nil {
                let text = try container.decode(String.self)
                guard text != "", text != "Infinity" else {
                    self = .never
                    return
                }
                seconds = Double(text)
            }
            guard let seconds, seconds.isFinite else {
                throw DecodingError.dataCorruptedError(in: container, debugDescription: "no time")
            }
            self = seconds == 0 ? .never : .at(seconds)
        }
    }

    init(_ content: SecretValue, now: Date) throws(InvalidAdoptedKey) {
        guard let file = content.exposedText()?.trimmingCharacters(in: .whitespacesAndNewlines), !file.isEmpty else {
            throw InvalidAdoptedKey(reason: "the file holds no key")
        }
        var wire: Wire?
        if file.hasPrefix("{") {
            wire = try? JSONDecoder().decode(Wire.self, from: Data(file.utf8))
            guard wire != nil else {
                throw InvalidAdoptedKey(reason: "the file's JSON is not one that Momento's console hands out")
            }
            guard let text = wire?.apiKey ?? wire?.authToken, !text.isEmpty else {
                throw InvalidAdoptedKey(reason: "the file's JSON has neither apiKey nor authToken")
            }
        }
        text = SecretValue(utf8: wire.map { $0.apiKey ?? $0.authToken ?? "" } ?? file)
        guard let key = MomentoKey(text) else {
            throw InvalidAdoptedKey(reason: "what the file holds is not a key of Momento")
        }
        if let endpoint = wire?.endpoint, !MomentoKey.isHost(endpoint) {
            throw InvalidAdoptedKey(reason: "the file's endpoint is not a host name")
        }
        self.key = key
        endpoint = wire?.endpoint ?? key.endpoint
        refreshToken = wire?.refreshToken.flatMap { $0.isEmpty ? nil : SecretValue(utf8: $0) }
        keyID = wire?.keyId.flatMap { $0.isEmpty ? nil : $0 }
        if case .at(let seconds)? = wire?.validUntil {
            guard let date = MomentoKey.date(seconds) else {
                throw InvalidAdoptedKey(reason: "the file's validUntil is no date before the year 10000")
            }
            expiresAt = date
        } else {
            expiresAt = key.expiresAt
        }
        if let expiresAt, expiresAt <= now { throw InvalidAdoptedKey(reason: "the key has expired already") }
    }
}
