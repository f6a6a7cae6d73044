/// Encrypts and decrypts whole files in the age v1 format, which the stock `age` command reads and writes too.
/// Source: https://c2sp.org/age
package enum AgeFile {
    /// Files larger than this are not decrypted unless asked for, in bytes.
    package static let usualLimit = 16 * 1024 * 1024

    /// - Parameter recipients: at least one; a passphrase stands alone.
    /// - Throws: `invalidRecipient`.
    package static func encrypt(
        _ plaintext: [UInt8], to recipients: [any Recipient], armor: Bool = false
    ) throws(AgeError) -> [UInt8] {
        guard !recipients.isEmpty else { throw .invalidRecipient("there is none") }
        guard recipients.count == 1 || !recipients.contains(where: \.standsAlone) else {
            throw .invalidRecipient("a passphrase can't be used together with other recipients")
        }
        var fileKey = random(FileKeyWrapping.fileKeyLength)
        defer { for index in fileKey.indices { fileKey[index] = 0 } }
        var stanzas: [Stanza] = []
        for recipient in recipients { stanzas.append(try recipient.wrap(fileKey)) }
        let header = Header.encode(stanzas, fileKey: fileKey)
        let payload = try PayloadStream.encrypt(
            plaintext, fileKey: fileKey, nonce: random(PayloadStream.nonceLength))
        return armor ? Armor.encode(header + payload) : header + payload
    }

    /// Takes armored and binary files.
    ///
    /// - Parameter limit: the largest file that is accepted, in bytes.
    /// - Throws: any ``AgeError``; nothing of the content is given out then.
    package static func decrypt(
        _ file: [UInt8], with identities: [any Identity], limit: Int = usualLimit
    ) throws(AgeError) -> [UInt8] {
        guard file.count <= limit else { throw .tooLarge(limit: limit) }
        let binary = Armor.isArmored(file) ? try Armor.decode(file) : file
        let (header, payload) = try Header.parse(binary)
        guard header.stanzas.count == 1 || !header.stanzas.contains(where: { $0.type == ScryptWrapping.type }) else {
            throw .malformedHeader("a passphrase must be the only recipient")
        }
        var fileKey = try unwrap(header, identities)
        defer { for index in fileKey.indices { fileKey[index] = 0 } }
        guard header.isAuthentic(under: fileKey) else { throw .badHeaderMAC }
        return try PayloadStream.decrypt(binary[payload...], fileKey: fileKey)
    }

    private static func unwrap(_ header: Header, _ identities: [any Identity]) throws(AgeError) -> [UInt8] {
        for identity in identities {
            for stanza in header.stanzas {
                if let fileKey = try identity.unwrap(stanza) { return fileKey }
            }
        }
        throw .noMatchingIdentity
    }

    /// From the system's generator.
    private static func random(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8.random(in: .min ... .max) }
    }
}
