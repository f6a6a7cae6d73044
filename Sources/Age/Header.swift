import Crypto
import Foundation

/// The header of an age file: version line, stanzas, and a MAC over both.
struct Header {
    static let intro = "age-encryption.org/v1"
    /// Lines of a stanza's body hold 48 bytes each; the last one holds fewer.
    private static let bodyColumns = 64
    private static let maximumStanzas = 1000

    let stanzas: [Stanza]
    let mac: [UInt8]
    /// What the MAC is over: everything up to and with the three dashes.
    let authenticated: [UInt8]

    static func encode(_ stanzas: [Stanza], fileKey: [UInt8]) -> [UInt8] {
        var text = intro + "\n"
        for stanza in stanzas {
            text += (["->", stanza.type] + stanza.arguments).joined(separator: " ") + "\n"
            var body = Substring(CanonicalBase64.encode(stanza.body))
            while body.utf8.count >= bodyColumns {
                text += body.prefix(bodyColumns) + "\n"
                body = body.dropFirst(bodyColumns)
            }
            text += body + "\n"
        }
        text += "---"
        let authenticated = Array(text.utf8)
        return authenticated + Array(" \(CanonicalBase64.encode(mac(over: authenticated, fileKey)))\n".utf8)
    }

    static func mac(over authenticated: [UInt8], _ fileKey: [UInt8]) -> [UInt8] {
        Array(HMAC<SHA256>.authenticationCode(for: authenticated, using: macKey(fileKey)))
    }

    func isAuthentic(under fileKey: [UInt8]) -> Bool {
        HMAC<SHA256>.isValidAuthenticationCode(mac, authenticating: authenticated, using: Self.macKey(fileKey))
    }

    private static func macKey(_ fileKey: [UInt8]) -> SymmetricKey {
        HKDF<SHA256>.deriveKey(
            inputKeyMaterial: SymmetricKey(data: fileKey), info: Data("header".utf8), outputByteCount: 32)
    }

    /// Reads the header off the front of a file; gives it and where the payload begins.
    static func parse(_ file: [UInt8]) throws(AgeError) -> (header: Header, payload: Int) {
        var reader = LineReader(file)
        let first = try reader.next(orThrow: .notAnAgeFile)
        guard first == intro else {
            throw first.hasPrefix("age-encryption.org/") ? .unsupportedVersion : .notAnAgeFile
        }
        var stanzas: [Stanza] = []
        while true {
            let begin = reader.position
            let line = try reader.next(orThrow: .truncated)
            if line.hasPrefix("---") {
                guard !stanzas.isEmpty else { throw .malformedHeader("it has no recipient") }
                guard line.hasPrefix("--- "), let mac = CanonicalBase64.decode(line.dropFirst(4)), mac.count == 32
                else {
                    throw .malformedHeader("its last line must hold a MAC of 32 bytes")
                }
                return (Header(stanzas: stanzas, mac: mac, authenticated: Array(file[..<(begin + 3)])), reader.position)
            }
            guard stanzas.count < maximumStanzas else { throw .malformedHeader("it has too many recipients") }
            stanzas.append(try stanza(line, &reader))
        }
    }

    private static func stanza(_ line: String, _ reader: inout LineReader) throws(AgeError) -> Stanza {
        let words = line.split(separator: " ", omittingEmptySubsequences: false).map(String.init)
        guard words.count >= 2, words[0] == "->", words.allSatisfy({ !$0.isEmpty }) else {
            throw .malformedHeader("a stanza must begin with '->' and words with one space between")
        }
        guard words.allSatisfy({ $0.utf8.allSatisfy { $0 >= 33 && $0 <= 126 } }) else {
            throw .malformedHeader("a stanza's words must be printable ASCII")
        }
        var body: [UInt8] = []
        while true {
            let line = try reader.next(orThrow: .truncated)
            guard line.utf8.count <= bodyColumns, let bytes = CanonicalBase64.decode(line) else {
                throw .malformedHeader("a stanza's body must be canonical base64 in lines of \(bodyColumns)")
            }
            body += bytes
            if line.utf8.count < bodyColumns { break }
        }
        return Stanza(type: words[1], arguments: Array(words.dropFirst(2)), body: body)
    }
}

/// Reads lines that end in a line feed.
struct LineReader {
    private let bytes: [UInt8]
    private(set) var position = 0
    /// No line of a header is longer.
    private static let maximumLength = 4096

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    mutating func next(orThrow error: AgeError) throws(AgeError) -> String {
        let rest = bytes[position...].prefix(Self.maximumLength)
        guard let end = rest.firstIndex(of: 0x0A), let line = String(validating: rest[..<end], as: UTF8.self) else {
            throw rest.count == Self.maximumLength || rest.contains(0x0A)
                ? .malformedHeader("a line is not text") : error
        }
        position = end + 1
        return line
    }
}
