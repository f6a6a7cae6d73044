import Foundation
import KeyturnCore

extension RotationDriver {
    /// Why no key that the journal knows no use of may be revoked now; `nil` when nothing speaks against it.
    ///
    /// Consumers read what the journal did not put there. It may be older than they are, as after a damaged or a restored
    /// one, and the key that it takes for unused may be theirs.
    func reasonToKeepUnknownKeys(_ record: SecretRecord) async throws(SystemError) -> String? {
        for entry in policy?.backends ?? [] where entry.required {
            let adapter = try workplace.backend(entry.name)
            guard adapter.traits.readsBack else { continue }
            let known = record.current?.backends.first { $0.target.isSamePlace(as: entry.target) }
            // A place that the current version is not in yet may hold anything.
            if record.current != nil, known == nil { continue }
            if known == nil, entry.overwrite { continue }
            let stored = try await core.gates.call(.backend(entry.name)) { () throws(SystemError) in
                try await adapter.read(.current, at: entry.target)
            }
            guard let stored else { continue }
            if let current = record.current, let known,
                stored.value.matches(try writing.rendered(current, for: known))
            {
                continue
            }
            return "backend '\(entry.name)' serves a value that the journal does not know, maybe this very key"
        }
        return nil
    }
}
