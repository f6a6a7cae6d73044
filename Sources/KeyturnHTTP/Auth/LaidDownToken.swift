import Foundation
package import KeyturnCore

/// A token that somebody else lays down in a file and replaces before it expires, as Kubernetes does for a pod: with a
/// mode of its own, and behind links. It is read anew for each use.
package enum LaidDownToken {
    /// - Parameter name: what errors call it, such as `the federated token`.
    package static func read(_ path: String, as name: String) throws(SystemError) -> SecretValue {
        guard let data = FileManager.default.contents(atPath: path), data.count <= 64 * 1024,
            let text = String(data: data, encoding: .utf8)?.trimmingCharacters(in: .whitespacesAndNewlines),
            !text.isEmpty
        else {
            throw SystemError(
                .misconfigured, "\(name) in \(path) can't be read",
                advice: "see whether the file is there and Keyturn's user may read it")
        }
        return SecretValue(utf8: text)
    }
}
