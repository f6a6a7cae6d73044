import Foundation
import KeyturnCore
import KeyturnHTTP
import KeyturnSystem
import TestSupport
import Testing

@testable import KeyturnBackends

@Suite("Kubernetes logins")
struct KubeconfigTests {
    private let folder: ScratchFolder

    init() throws { folder = try ScratchFolder() }

    private func file(
        cluster: String = "server: https://kube.example.org:6443", user: String = "token: CANARY", context: String = "",
        more: String = ""
    ) -> String {
        """
        apiVersion: v1
        kind: Config
        current-context: here
        contexts:
        - {name: here, context: {cluster: one, user: me\(context)}}
        - {name: there, context: {cluster: two, user: me, namespace: elsewhere}}
        clusters:
        - {name: one, cluster: {\(cluster)}}
        - {name: two, cluster: {server: "https://two.example.org"}}
        users:
        - {name: me, user: {\(user)}}
        \(more)
        """
    }

    private func connection(
        _ text: String, context: String? = nil, allowsInsecure: Bool = false
    ) throws(SystemError) -> KubernetesConnection {
        try Kubeconfig(Data(text.utf8), path: folder.path("config")).connection(
            context: context, allowsInsecure: allowsInsecure)
    }

    private func text(_ pem: PEMText?) -> String? { pem?.value.exposedText() }

    @Test func contextsLeadToClusters() throws {
        let here = try connection(file(context: ", namespace: payments"))
        #expect(here.server == "https://kube.example.org:6443" && here.namespace == "payments")
        #expect(here.token?.exposedText() == "CANARY" && here.tls == TLSSettings())
        let there = try connection(file(), context: "there")
        #expect(there.server == "https://two.example.org" && there.namespace == "elsewhere")
        #expect(try connection(file()).namespace == nil)
    }

    @Test func certificatesLieInItOrBesideIt() throws {
        try folder.write("an authority", to: "pki/ca.pem", mode: 0o644)
        try folder.write("a certificate", to: "pki/me.pem", mode: 0o644)
        try folder.write("a key", to: "pki/me.key")
        let data = { (text: String) in Data(text.utf8).base64EncodedString() }
        let beside = try connection(
            file(
                cluster: "server: 'https://a', certificate-authority: pki/ca.pem",
                user: "client-certificate: pki/me.pem, client-key: \(folder.path("pki/me.key"))"))
        let inside = try connection(
            file(
                cluster:
                    "server: 'https://a', certificate-authority: none, certificate-authority-data: \(data("an authority"))",
                user: "client-certificate-data: \(data("a certificate")), client-key-data: \(data("a key"))"))
        for found in [beside, inside] {
            #expect(text(found.tls.caPEM) == "an authority" && text(found.tls.certificatePEM) == "a certificate")
            #expect(text(found.tls.keyPEM) == "a key" && found.token == nil)
        }
        #expect(beside.tls == inside.tls)
        chmod(folder.path("pki/me.key"), 0o644)
        #expect(throws: SystemError.self) {
            try connection(file(user: "client-certificate: pki/me.pem, client-key: pki/me.key"))
        }
    }

    @Test func aTokenFileGoesBeforeATokenAndIsReadAnew() throws {
        let config = file(user: "token: old, tokenFile: token")
        #expect(throws: SystemError.self) { try connection(config) }
        for token in ["first", "second"] {
            try folder.write(token + "\n", to: "token", mode: 0o644)
            #expect(try connection(config).token?.exposedText() == token)
        }
    }

    @Test func aClusterThatIsNotVerifiedNeedsConsent() throws {
        let config = file(cluster: "server: 'https://a', insecure-skip-tls-verify: true")
        let error = #expect(throws: SystemError.self) { try connection(config) }
        #expect(error?.code == .misconfigured && error?.advice.contains("allowInsecure") == true)
        #expect(try connection(config, allowsInsecure: true).tls.skipsVerification)
        #expect(!(try connection(file(), allowsInsecure: true).tls.skipsVerification))
    }

    @Test(arguments: [
        ("exec: {command: aws, apiVersion: client.authentication.k8s.io/v1}", "exec"),
        ("auth-provider: {name: gcp}", "auth-provider"), ("username: a, password: CANARY", "username"),
        ("token: CANARY, as: admin", "'as'"), ("client-certificate-data: YQ==", "only one"),
        ("client-certificate-data: '%CANARY', client-key-data: YQ==", "base64"), ("token: [CANARY]", "not a text"),
        ("client-key: missing, client-certificate: missing", "client-certificate"), ("tokenFile: missing", "token"),
    ])
    func whatCannotBeFollowedIsRefused(user: String, word: String) throws {
        let error = #expect(throws: SystemError.self) { try connection(file(user: user)) }
        #expect(error?.code == .misconfigured && error?.message.contains(word) == true, "\(String(describing: error))")
        #expect(error.map { "\($0)".contains("CANARY") } == false)
    }

    @Test(arguments: [
        "", "[]", "a: [", "--- {}\n--- {}\n", "current-context: x", "current-context: here\ncontexts: {}\n",
        "a: &x CANARY\nb: *x\n", "contexts: [CANARY]\ncurrent-context: CANARY2\n",
    ])
    func whatIsNoneIsSaidToBeNone(config: String) {
        let error = #expect(throws: SystemError.self) { try connection(config) }
        #expect(error?.code == .misconfigured && error.map { "\($0)".contains("CANARY\"") } == false)
    }

    @Test func namesThatAreMissingOrTwiceThereAreNamed() {
        for (config, word) in [
            (file().replacing("cluster: one, user", with: "cluster: five, user"), "cluster is not there"),
            (file().replacing("cluster: one, user: me", with: "cluster: one, user: you"), "user is not there"),
            (file(more: "- {name: me, user: {}}"), "more than once"),
            (file(cluster: "server: 'https://a', proxy-url: 'http://b'"), "proxy-url"),
            (file(cluster: "server: 'https://a', tls-server-name: b"), "tls-server-name"),
            (file(cluster: "namespace: x"), "no server"),
        ] {
            let error = #expect(throws: SystemError.self) { try connection(config) }
            #expect(error?.message.contains(word) == true, "\(word): \(String(describing: error))")
        }
        #expect(throws: SystemError.self) { try connection(file(), context: "nowhere") }
    }

    @Test func aPodKnowsItsServerAndItself() throws {
        try folder.write("an authority", to: "pod/ca.crt", mode: 0o644)
        try folder.write("pods-namespace\n", to: "pod/namespace", mode: 0o644)
        try folder.write("first\n", to: "pod/..data/token", mode: 0o644)
        try FileManager.default.createSymbolicLink(
            atPath: folder.path("pod/token"), withDestinationPath: "..data/token")
        for (host, port, server) in [
            ("10.0.0.1", nil, "https://10.0.0.1:443"), ("fd00::1", "6443", "https://[fd00::1]:6443"),
        ] as [(String, String?, String)] {
            var environment = ["KUBERNETES_SERVICE_HOST": host, "KUBECONFIG": "/nowhere"]
            environment["KUBERNETES_SERVICE_PORT_HTTPS"] = port
            let login = try KubernetesLogin(["serviceAccount": .string(folder.path("pod"))], environment: environment)
            let found = try login.connection()
            #expect(
                found.server == server && found.namespace == "pods-namespace" && text(found.tls.caPEM) == "an authority"
            )
            #expect(found.token?.exposedText() == "first")
            try folder.write("second", to: "pod/..data/token", mode: 0o644)
            #expect(try login.connection().token?.exposedText() == "second")
            try folder.write("first", to: "pod/..data/token", mode: 0o644)
        }
    }

    @Test func outsideOfAPodAFileIsLookedFor() throws {
        let path = try folder.write(file(), to: ".kube/config")
        for environment in [["KUBECONFIG": path], ["HOME": folder.path]] {
            #expect(try KubernetesLogin([:], environment: environment).connection().token != nil)
        }
        #expect(throws: SystemError.self) { try KubernetesLogin([:], environment: ["KUBECONFIG": "\(path):\(path)"]) }
        #expect(throws: SystemError.self) { try KubernetesLogin([:], environment: [:]) }
        chmod(path, 0o644)
        let error = #expect(throws: SystemError.self) {
            try KubernetesLogin([:], environment: ["KUBECONFIG": path]).connection()
        }
        #expect(error?.code == .forbidden)
    }
}
