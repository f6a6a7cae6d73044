import KeyturnCore

/// What is current at a target, seen from a write that is to become current: the rule every backend follows.
enum PromoteGuard {
    enum Finding {
        /// Our own value is there already.
        case done
        /// Nothing, or the version that is to be replaced, or a foreign value that may be replaced.
        case goOn
    }

    /// - Parameter present: the current value; `nil` when there is none.
    /// - Throws: `conflict` for a value that Keyturn did not put there.
    static func judge(
        _ present: SecretValue?, for write: VersionWrite, at place: String
    ) throws(SystemError) -> Finding {
        guard let present else { return .goOn }
        if present.matches(write.value) { return .done }
        if write.replaces?.value?.matches(present) == true || write.mayOverwrite { return .goOn }
        throw SystemError(
            .conflict, "\(place) holds a value that Keyturn did not put there",
            advice: "see who wrote it; `overwrite: true` at the backend in the policy lets Keyturn replace it")
    }
}
