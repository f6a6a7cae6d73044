package import KeyturnCore

/// Follows references to secrets that Keyturn needs for itself.
package struct SecretReferenceResolver: SecretResolver {
    private let environment: [String: String]
    private let folder: String
    private let vault: @Sendable (SecretName) async throws(SystemError) -> SecretValue

    /// - Parameter vault: reads the current value of a secret that Keyturn itself keeps.
    package init(
        environment: [String: String], folder: String,
        vault: @escaping @Sendable (SecretName) async throws(SystemError) -> SecretValue
    ) {
        self.environment = environment
        self.folder = folder
        self.vault = vault
    }

    package func resolve(_ reference: SecretReference) async throws(SystemError) -> SecretValue {
        let value: SecretValue
        switch reference {
        case .environment(let name):
            guard let text = environment[name] else {
                throw SystemError(
                    .misconfigured, "the environment variable \(name) is not set", advice: "set it where Keyturn runs")
            }
            value = SecretValue(utf8: text)
        case .file(let path): value = try PrivateFile.read(path).withoutNewline()
        case .command(let words):
            let outcome = try await ChildProgram(words, folder: folder, environment: environment).run()
            guard outcome.status == 0 else {
                throw SystemError(.misconfigured, "\(reference) ended with status \(outcome.status)")
            }
            value = outcome.output.withoutNewline()
        case .vault(let secret): value = try await vault(secret)
        }
        guard !value.isEmpty else { throw SystemError(.misconfigured, "\(reference) is empty") }
        return value
    }
}

extension SecretValue {
    /// Without one line break at the end, as editors and `echo` leave it.
    func withoutNewline() -> SecretValue {
        withUnsafeBytes { bytes in
            var count = bytes.count
            if count > 0, bytes[count - 1] == 0x0A { count -= 1 }
            if count > 0, count < bytes.count, bytes[count - 1] == 0x0D { count -= 1 }
            return SecretValue(bytes[..<count])
        }
    }
}
