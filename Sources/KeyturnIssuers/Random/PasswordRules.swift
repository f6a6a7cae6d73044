import Foundation
import KeyturnCore

/// What a random password is made of.
struct PasswordRules: Sendable, Equatable {
    enum Class: String, CaseIterable, Sendable {
        case lower, upper, digits, symbols

        var characters: String {
            switch self {
            case .lower: "abcdefghijklmnopqrstuvwxyz"
            case .upper: "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
            case .digits: "0123456789"
            case .symbols: "!#$%&()*+,-./:;<=>?@[]^_{|}~"
            }
        }
    }

    let length: Int
    /// ASCII, each once.
    let alphabet: [UInt8]
    /// The least number of characters of each class.
    let minimum: [Class: Int]

    static let alphabets: [String: String] = [
        "alphanumeric": Class.lower.characters + Class.upper.characters + Class.digits.characters,
        "letters": Class.lower.characters + Class.upper.characters,
        "digits": Class.digits.characters,
        "hex": "0123456789abcdef",
        "base64url": Class.upper.characters + Class.lower.characters + Class.digits.characters + "-_",
        "ascii": Class.allCases.map(\.characters).joined(),
    ]

    /// - Throws: problems in words, with the parameter they are about.
    init(_ parameters: Parameters) throws(RuleError) {
        length = parameters.integer("length") ?? 32
        let named = parameters.string("alphabet") ?? "alphanumeric"
        let excluded = Set((parameters.string("exclude") ?? "").utf8)
        let text = Self.alphabets[named] ?? named
        guard text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            throw RuleError(path: "alphabet", reason: "an alphabet holds printable ASCII characters only")
        }
        guard Set(text.utf8).count == text.utf8.count else {
            throw RuleError(
                path: "alphabet",
                reason:
                    "an alphabet is \(Self.alphabets.keys.sorted().joined(separator: ", ")), or characters, each once")
        }
        alphabet = text.utf8.filter { !excluded.contains($0) }
        guard alphabet.count >= 2 else {
            throw RuleError(path: "alphabet", reason: "fewer than two characters are left to choose from")
        }
        var minimum: [Class: Int] = [:]
        for (name, value) in parameters.map("classes") ?? [:] {
            guard let kind = Class(rawValue: name), case .integer(let count) = value, count > 0 else { continue }
            guard alphabet.contains(where: { kind.characters.utf8.contains($0) }) else {
                throw RuleError(path: "classes", reason: "the alphabet has no \(name) that a password could hold")
            }
            minimum[kind] = count
        }
        guard minimum.values.reduce(0, +) <= length else {
            throw RuleError(path: "classes", reason: "they ask for more characters than the length allows")
        }
        self.minimum = minimum
    }

    struct RuleError: Error {
        let path: String
        let reason: String
    }

    /// Bits of choice, less a little where classes narrow it.
    var entropy: Double { Double(length) * log2(Double(alphabet.count)) }

    /// Every password that fits the rules is as likely as every other: one that does not fit is thrown away whole. When
    /// the rules fit too few, the classes are filled first and the whole is shuffled.
    func password(using generator: inout some RandomNumberGenerator) -> [UInt8] {
        for _ in 0..<1000 {
            let candidate = (0..<length).map { _ in alphabet[Int.random(in: alphabet.indices, using: &generator)] }
            if fits(candidate) { return candidate }
        }
        var bytes: [UInt8] = []
        for (kind, count) in minimum.sorted(by: { $0.key.rawValue < $1.key.rawValue }) {
            let choices = alphabet.filter { kind.characters.utf8.contains($0) }
            bytes += (0..<count).map { _ in choices[Int.random(in: choices.indices, using: &generator)] }
        }
        while bytes.count < length { bytes.append(alphabet[Int.random(in: alphabet.indices, using: &generator)]) }
        return bytes.shuffled(using: &generator)
    }

    func fits(_ password: [UInt8]) -> Bool {
        minimum.allSatisfy { kind, count in password.count { kind.characters.utf8.contains($0) } >= count }
    }
}
