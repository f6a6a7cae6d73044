/// Where a secret that Keyturn needs for itself is to be had. Configuration holds only these, never a literal.
package enum SecretReference: Sendable, Hashable, Codable {
    /// `{env: NAME}`
    case environment(String)
    /// `{file: PATH}`: absolute after loading; refused when others can read it. One trailing newline is not part of it.
    case file(String)
    /// `{command: [PROGRAM, ARGUMENT...]}`: its standard output, less one trailing newline.
    case command([String])
    /// `{vault: SECRET}`: the current value of a secret that Keyturn itself keeps.
    case vault(SecretName)
}

extension SecretReference: CustomStringConvertible {
    /// The reference as it is written, without what it leads to.
    package var description: String {
        switch self {
        case .environment(let name): "env \(name)"
        case .file(let path): "file \(path)"
        case .command(let words): "command \(words.first ?? "")"
        case .vault(let secret): "vault \(secret)"
        }
    }
}

/// Gets what a reference leads to, each time anew, so that a rotated credential is picked up.
package protocol SecretResolver: Sendable {
    /// Throws `misconfigured` with the way to mend it when there is nothing there or others can read it.
    func resolve(_ reference: SecretReference) async throws(SystemError) -> SecretValue
}
