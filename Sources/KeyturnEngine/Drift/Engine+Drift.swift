package import KeyturnCore

extension Engine {
    /// Looks whether every backend has the value that was promoted, and nothing else of ours. Nothing is changed.
    ///
    /// - Parameter names: all secrets when absent.
    package func drift(
        of names: [SecretName]? = nil,
        progress: @escaping @Sendable (_ done: Int, _ total: Int) -> Void = { _, _ in }
    ) async throws(JournalError) -> DriftReport {
        try await DriftInspector(core: core, workplace: workplace).inspect(names, progress)
    }

    /// Asks that the promoted value be put back where a backend holds another. It begins with the next look at the secret.
    package func requestRepair(_ secret: SecretName, actor: String) async throws(JournalError) {
        try await core.journal.requestRepair(of: secret, at: core.time.now(), actor: actor)
        doorbell.ring()
    }
}
