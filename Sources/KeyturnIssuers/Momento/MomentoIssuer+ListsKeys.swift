package import KeyturnCore

extension MomentoIssuer: ListsKeys {
    /// The keys that carry a lineage. An account has others, none of which can be ours: every key that is made here has
    /// one.
    package func keys(for parameters: Parameters) async throws(SystemError) -> [ListedKey] {
        try await api.list().compactMap { key in
            guard let lineage = key.description.flatMap(Lineage.init) else { return nil }
            return ListedKey(keyID: key.id, createdAt: key.issuedAt.flatMap(MomentoKey.date), lineage: lineage)
        }
    }
}
