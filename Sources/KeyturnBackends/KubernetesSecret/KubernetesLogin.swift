import Foundation
package import KeyturnCore
package import KeyturnHTTP
import KeyturnSystem

/// Where the API server is, and who we are to it.
package struct KubernetesConnection: Sendable {
    package let server: String
    package let tls: TLSSettings
    package let token: SecretValue?
    /// The namespace that is meant where a path names none.
    package let namespace: String?
}

/// How a connection comes about: from a kubeconfig, or from what every pod is given. Files are read anew for each request,
/// since a pod's token and a rotated certificate are replaced in place.
enum KubernetesLogin: Sendable {
    case kubeconfig(path: String, context: String?, allowsInsecure: Bool)
    case inCluster(host: String, port: String, folder: String)

    /// https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/
    private static let podFolder = "/var/run/secrets/kubernetes.io/serviceaccount"

    init(_ parameters: Parameters, environment: [String: String]) throws(SystemError) {
        let context = parameters.string("context")
        let allowsInsecure = parameters.boolean("allowInsecure") ?? false
        if let path = parameters.string("kubeconfig") {
            self = .kubeconfig(path: path, context: context, allowsInsecure: allowsInsecure)
        } else if let host = environment["KUBERNETES_SERVICE_HOST"], !host.isEmpty, context == nil {
            self = .inCluster(
                host: host,
                port: environment["KUBERNETES_SERVICE_PORT_HTTPS"] ?? environment["KUBERNETES_SERVICE_PORT"] ?? "443",
                folder: parameters.string("serviceAccount") ?? Self.podFolder)
        } else if let path = environment["KUBECONFIG"], !path.isEmpty {
            guard !path.contains(":") else {
                throw SystemError(
                    .misconfigured, "KUBECONFIG names several files, which Keyturn does not merge",
                    advice: "name one with `kubeconfig`")
            }
            self = .kubeconfig(path: path, context: context, allowsInsecure: allowsInsecure)
        } else if let home = environment["HOME"], !home.isEmpty {
            self = .kubeconfig(path: "\(home)/.kube/config", context: context, allowsInsecure: allowsInsecure)
        } else {
            throw SystemError(
                .misconfigured, "nothing says where the Kubernetes API is", advice: "name a file with `kubeconfig`")
        }
    }

    func connection() throws(SystemError) -> KubernetesConnection {
        switch self {
        case .kubeconfig(let path, let context, let allowsInsecure):
            return try Kubeconfig(path: path).connection(context: context, allowsInsecure: allowsInsecure)
        case .inCluster(let host, let port, let folder):
            var tls = TLSSettings()
            guard let authority = FileManager.default.contents(atPath: "\(folder)/ca.crt"), !authority.isEmpty else {
                throw SystemError(
                    .misconfigured, "\(folder)/ca.crt can't be read",
                    advice: "see whether the pod has its service account's token mounted")
            }
            tls.caPEM = PEMText(SecretValue(authority))
            let namespace = FileManager.default.contents(atPath: "\(folder)/namespace").map {
                String(decoding: $0, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
            }
            return KubernetesConnection(
                server: "https://\(host.contains(":") ? "[\(host)]" : host):\(port)", tls: tls,
                token: try LaidDownToken.read("\(folder)/token", as: "the service account's token"),
                namespace: namespace)
        }
    }
}
