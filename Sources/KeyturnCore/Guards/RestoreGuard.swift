/// Finds out whether a backend is ahead of the journal: then the journal is an old copy that was put back, or one of two
/// copies at work.
package enum RestoreGuard {
    /// - Parameters:
    ///   - mark: of a value that is not the one which the journal has as current.
    ///   - newest: the newest version of the secret that the journal knows; 0 when there is none.
    /// - Returns: the finding, or `nil` when the journal is not behind.
    package static func finding(
        _ mark: WriteMark?, at backend: String, of secret: SecretName, newest: Int, installation: Installation
    ) -> String? {
        guard let mark, mark.instance == installation.instance else { return nil }
        let generation = mark.generation ?? installation.generation
        guard generation >= installation.generation else { return nil }
        guard generation > installation.generation || mark.version > newest else { return nil }
        return "backend '\(backend)' holds version \(mark.version) of \(secret), which this state has not made"
    }
}
