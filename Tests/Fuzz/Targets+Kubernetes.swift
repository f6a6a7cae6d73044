import Foundation
import KeyturnBackends
import KeyturnCore
import KeyturnHTTP
import KeyturnSystem
import TestSupport

extension Targets {
    static let kubeconfig = FuzzTarget(
        "kubeconfig",
        words: [
            "contexts:", "clusters:", "users:", "current-context: here\n", "- {name: here, ", "context: {",
            "cluster: {",
            "user: {", "token: CANARY", "tokenFile: t", "client-certificate-data: YQ==", "client-key-data: YQ==",
            "exec: {",
            "insecure-skip-tls-verify: true", "server: 'https://a'", "}", "]", "\n", "  ", "&a ", "*a",
        ]
    ) { bytes in
        do throws(SystemError) {
            let config = try Kubeconfig(Data(bytes), path: "/nowhere/config")
            for allowsInsecure in [false, true] {
                let found = try config.connection(context: nil, allowsInsecure: allowsInsecure)
                guard allowsInsecure || !found.tls.skipsVerification else {
                    throw SystemError(.local, "a cluster is not verified without consent")
                }
            }
        } catch {
            try require(error.code != .local, error.message)
            try requireSilent(error)
        }
    }

    /// An API server whose every answer is the input.
    static func kubernetes(
        _ oracle: Oracle, _ address: String, _ services: SystemServices, _ folder: ScratchFolder, _ words: [String]
    ) throws -> [FuzzTarget] {
        guard let type = BackendRegistry.all.first(where: { $0.description.type == "kubernetes-secret" }) else {
            throw Violation("there is no Kubernetes")
        }
        let file = try folder.write(
            """
            {"current-context":"a","contexts":[{"name":"a","context":{"cluster":"a"}}],
            "clusters":[{"name":"a","cluster":{"server":"\(address)"}}]}
            """, to: "kubeconfig")
        let backend = try type.make("fuzzed", ["kubeconfig": .string(file)], services)
        let more = [
            "\"kind\":\"Secret\"", "\"metadata\":", "\"data\":", "\"annotations\":", "\"managedFields\":", "\"f:key\"",
        ]
        return [
            FuzzTarget("kubernetes-answer", words: words + more, share: 0.05) { bytes in
                oracle.answer(bytes)
                try await drive(backend, at: "team#key")
            }
        ]
    }
}
