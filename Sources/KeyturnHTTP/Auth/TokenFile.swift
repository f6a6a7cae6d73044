import Foundation
package import KeyturnCore

/// A token that something else lays down in a file and replaces before it ends, as Kubernetes does for its pods.
package enum TokenFile {
    private static let largest = 64 * 1024

    /// Read anew each time. Its mode is that of whoever lays it down, in a folder of the pod.
    ///
    /// - Parameter what: such as `the federated token`.
    package static func read(_ path: String, _ what: String) throws(SystemError) -> SecretValue {
        guard let data = FileManager.default.contents(atPath: path), data.count <= largest,
            let text = String(data: data, encoding: .utf8)?.trimmingCharacters(in: .whitespacesAndNewlines),
            !text.isEmpty
        else {
            throw SystemError(
                .misconfigured, "\(what) in \(path) can't be read",
                advice: "see whether the file is there and Keyturn's user may read it")
        }
        return SecretValue(utf8: text)
    }
}
