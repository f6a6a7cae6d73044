package import Foundation
package import KeyturnCore
import KeyturnHTTP
import KeyturnSystem
import KeyturnYAML
import Yams

/// A kubeconfig file, as far as it says how to reach one cluster.
///
/// Source: "kubeconfig (v1)", https://kubernetes.io/docs/reference/config-api/kubeconfig.v1/. What would change whom we
/// talk to, or as whom, and is not done here, is refused rather than skipped. Programs (`exec`) are not run.
package struct Kubeconfig {
    /// The file's folder, from which relative paths are taken.
    private let folder: String
    private let path: String
    private let root: Node

    init(path: String) throws(SystemError) {
        // Keys and tokens lie in it.
        let data = Data(try PrivateFile.read(path, as: "the kubeconfig").exposedBytes())
        try self.init(data, path: path)
    }

    package init(_ data: Data, path: String) throws(SystemError) {
        self.path = path
        folder = AtomicFile.folder(of: path)
        let nodes: [Node]
        do throws(YAMLProblem) { nodes = try YAMLText.documents(data) } catch {
            throw SystemError(.misconfigured, "\(path):\(error.line):\(error.column): \(error.message)")
        }
        guard nodes.count == 1, let root = nodes.first, case .mapping = root else {
            throw SystemError(.misconfigured, "\(path) is not a kubeconfig")
        }
        self.root = root
    }

    /// How one of its contexts leads to a cluster.
    ///
    /// - Parameters:
    ///   - context: `nil` for the file's current one.
    ///   - allowsInsecure: whether a cluster that is not to be verified may be used.
    package func connection(context wanted: String?, allowsInsecure: Bool) throws(SystemError) -> KubernetesConnection {
        let current = try text(root, "current-context", "the file")
        guard let name = wanted ?? current else {
            throw misconfigured("there is no current context", "name one with `context`")
        }
        // What the file calls things is not repeated: a line in the wrong place may be a secret.
        let context = try member("contexts", "context", name, "the \(wanted == nil ? "current " : "")context")
        guard let clusterName = try text(context, "cluster", "the context") else {
            throw misconfigured("the context names no cluster")
        }
        let place = "the context's cluster"
        let cluster = try member("clusters", "cluster", clusterName, place)
        for field in ["tls-server-name", "proxy-url"] where cluster[field] != nil {
            throw misconfigured("\(place) has '\(field)', which Keyturn can't follow")
        }
        guard let server = try text(cluster, "server", place) else { throw misconfigured("\(place) has no server") }
        var tls = TLSSettings(allowsInsecure: allowsInsecure)
        tls.caPEM = try pem(cluster, "certificate-authority", place)
        if try flag(cluster, "insecure-skip-tls-verify", place) {
            guard allowsInsecure else {
                throw misconfigured(
                    "\(place) is not to be verified (insecure-skip-tls-verify)",
                    "give it a certificate-authority, or set `allowInsecure: true` where the network is trusted")
            }
            tls.skipsVerification = true
        }
        let namespace = try text(context, "namespace", "the context")
        guard let userName = try text(context, "user", "the context") else {
            return KubernetesConnection(server: server, tls: tls, token: nil, namespace: namespace)
        }
        let token = try logIn(as: userName, &tls)
        return KubernetesConnection(server: server, tls: tls, token: token, namespace: namespace)
    }

    private func logIn(as name: String, _ tls: inout TLSSettings) throws(SystemError) -> SecretValue? {
        let place = "the context's user"
        let user = try member("users", "user", name, place)
        for field in ["exec", "auth-provider"] where user[field] != nil {
            throw misconfigured(
                "\(place) logs in with '\(field)', and Keyturn runs no such program",
                "use a token, a tokenFile or a client certificate; a service account with a token of its own is best")
        }
        for field in ["username", "password", "as", "as-uid", "as-groups", "as-user-extra"] where user[field] != nil {
            throw misconfigured("\(place) has '\(field)', which Keyturn can't follow")
        }
        tls.certificatePEM = try pem(user, "client-certificate", place)
        tls.keyPEM = try pem(user, "client-key", place)
        guard (tls.certificatePEM == nil) == (tls.keyPEM == nil) else {
            throw misconfigured("\(place) has only one of client certificate and key")
        }
        if let file = try text(user, "tokenFile", place) {
            return try LaidDownToken.read(absolute(file), as: "the token of \(place)")
        }
        return try text(user, "token", place).map { SecretValue(utf8: $0) }
    }

    // MARK: Pieces

    /// The named member of one of the three lists.
    private func member(
        _ list: String, _ kind: String, _ name: String, _ place: String
    ) throws(SystemError) -> Node {
        let found = (root[list]?.sequence.map { Array($0) } ?? []).filter { $0["name"]?.scalar?.string == name }
        guard let first = found.first, let inner = first[kind], case .mapping = inner else {
            throw misconfigured("\(place) is not there")
        }
        guard found.count == 1 else { throw misconfigured("\(place) is there more than once") }
        return inner
    }

    private func text(_ node: Node, _ field: String, _ place: String) throws(SystemError) -> String? {
        guard let value = node[field] else { return nil }
        guard case .scalar(let scalar) = value else { throw misconfigured("'\(field)' of \(place) is not a text") }
        return scalar.string.isEmpty ? nil : scalar.string
    }

    private func flag(_ node: Node, _ field: String, _ place: String) throws(SystemError) -> Bool {
        guard let value = try text(node, field, place) else { return false }
        guard value == "true" || value == "false" else {
            throw misconfigured("'\(field)' of \(place) is not true or false")
        }
        return value == "true"
    }

    /// A certificate or key, from `FIELD-data` (base64), which goes before the file that `FIELD` names.
    private func pem(_ node: Node, _ field: String, _ place: String) throws(SystemError) -> PEMText? {
        if let encoded = try text(node, "\(field)-data", place) {
            guard let data = Data(base64Encoded: encoded, options: .ignoreUnknownCharacters), !data.isEmpty else {
                throw misconfigured("'\(field)-data' of \(place) is not base64")
            }
            return PEMText(SecretValue(data))
        }
        guard let file = try text(node, field, place) else { return nil }
        let named = absolute(file)
        if field == "client-key" { return PEMText(try PrivateFile.read(named, as: "the client key")) }
        guard let data = FileManager.default.contents(atPath: named), data.count <= 1 << 20, !data.isEmpty else {
            throw misconfigured("'\(field)' of \(place) can't be read", "see whether \(named) is there")
        }
        return PEMText(SecretValue(data))
    }

    private func absolute(_ file: String) -> String { file.hasPrefix("/") ? file : "\(folder)/\(file)" }

    private func misconfigured(_ words: String, _ advice: String = "") -> SystemError {
        SystemError(.misconfigured, "the kubeconfig \(path): \(words)", advice: advice)
    }
}
