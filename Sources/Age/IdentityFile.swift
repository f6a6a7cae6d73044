/// A file of identities as `age-keygen` writes it: one a line, with comments after `#` and empty lines.
package enum IdentityFile {
    /// - Throws: `invalidIdentity` with the number of the line, never its content.
    package static func parse(_ bytes: [UInt8]) throws(AgeError) -> [X25519Identity] {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            throw .invalidIdentity("the file is not text")
        }
        var identities: [X25519Identity] = []
        for (index, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
            guard !line.isEmpty, !line.hasPrefix("#") else { continue }
            guard let identity = try? X25519Identity(parsing: String(line)) else {
                throw .invalidIdentity("line \(index + 1) is neither a comment nor AGE-SECRET-KEY-1...")
            }
            identities.append(identity)
        }
        guard !identities.isEmpty else { throw .invalidIdentity("the file holds none") }
        return identities
    }

    /// The content of a new file.
    ///
    /// - Parameter created: RFC 3339, for the comment that `age-keygen` writes too.
    package static func content(_ identity: X25519Identity, created: String) -> String {
        """
        # created: \(created)
        # public key: \(identity.recipient.text)
        \(identity.exposedText())

        """
    }
}
