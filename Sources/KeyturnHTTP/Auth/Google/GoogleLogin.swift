package import KeyturnCore

/// How Keyturn shows Google Cloud who it is: with the key of a service account, or as the account of the machine.
///
/// Without parameters it does what Google's clients do on a server: the key file that GOOGLE_APPLICATION_CREDENTIALS
/// names, then the metadata server. Source: "How Application Default Credentials works", cloud.google.com/docs.
package struct GoogleLogin: Sendable {
    private enum Method: Sendable {
        case key(SecretReference)
        case metadata(GoogleMetadataServer)
    }

    private let method: Method
    private let secrets: any SecretResolver
    private let time: any Timekeeper
    /// Where assertions become tokens.
    package let endpoint: GoogleTokenEndpoint

    /// - Parameters:
    ///   - parameters: the map under `auth`; `nil` for what the environment says.
    ///   - timeout: seconds that one request may take.
    package init(
        _ parameters: Parameters?, environment: [String: String], secrets: any SecretResolver, http: HTTPClient,
        tls: TLSSettings, timeout: Int, time: any Timekeeper
    ) {
        self.secrets = secrets
        self.time = time
        endpoint = GoogleTokenEndpoint(
            address: parameters?.string("tokenEndpoint"), http: http, tls: tls, timeout: timeout, time: time)
        if let reference = parameters?.secret("serviceAccountKey") {
            method = .key(reference)
        } else if parameters?["metadata"] == nil, let file = environment["GOOGLE_APPLICATION_CREDENTIALS"],
            !file.isEmpty
        {
            method = .key(.file(file))
        } else {
            let metadata = parameters?.map("metadata")
            method = .metadata(
                GoogleMetadataServer(
                    account: metadata?.string("account"), endpoint: metadata?.string("endpoint"),
                    environment: environment, http: http, timeout: timeout, time: time))
        }
    }

    /// The tokens, for all that the account may do.
    package var tokens: AccessTokenCache {
        AccessTokenCache(time: time) { [self] () async throws(SystemError) in try await logIn() }
    }

    private func logIn() async throws(SystemError) -> AccessToken {
        switch method {
        case .metadata(let server): return try await server.logIn()
        case .key(let reference):
            switch try await endpoint.logIn(try ServiceAccountKey(try await secrets.resolve(reference))) {
            case .token(let token): return token
            case .refused(let error): throw error
            }
        }
    }

    /// The parameters that every system of Google's takes under `auth`.
    package static let schema = ParameterSchema([
        ParameterField("serviceAccountKey", .secret, "Reference to the JSON key of a service account."),
        ParameterField(
            "metadata",
            .object(
                ParameterSchema([
                    ParameterField("account", .string(), "An e-mail address; the machine's own account when absent."),
                    ParameterField("endpoint", .url, "Another metadata server, for tests."),
                ])), "Login as the service account of the machine."),
        ParameterField(
            "tokenEndpoint", .url, "Where assertions become tokens; where the key's file says when absent."),
    ]) { parameters, _ in
        guard parameters["serviceAccountKey"] != nil, parameters["metadata"] != nil else { return [] }
        return [
            ParameterProblem(path: ["metadata"], message: "it has both 'serviceAccountKey' and 'metadata'; keep one")
        ]
    }
}
