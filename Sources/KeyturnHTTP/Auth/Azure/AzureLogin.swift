import Foundation
package import KeyturnCore

/// How Keyturn shows Azure who it is: as an application with a secret, with a federated token from a file (workload
/// identity), or as the managed identity of the machine.
///
/// Without parameters it does what Microsoft's clients do on a server: the environment's application, then its federated
/// token, then the managed identity.
package struct AzureLogin: Sendable {
    private enum Method: Sendable {
        case secret(tenant: String, clientID: String, SecretReference)
        case federated(tenant: String, clientID: String, file: String)
        case managed(ManagedIdentity)
    }

    private let method: Method
    private let endpoint: EntraTokenEndpoint
    private let secrets: any SecretResolver
    private let time: any Timekeeper

    /// The host that gives out tokens in the public cloud.
    private static let publicAuthority = "https://login.microsoftonline.com"

    /// - Parameters:
    ///   - parameters: the map under `auth`; `nil` for what the environment says.
    ///   - timeout: seconds that one request may take.
    package init(
        _ parameters: Parameters?, environment: [String: String], secrets: any SecretResolver, http: HTTPClient,
        tls: TLSSettings, timeout: Int, time: any Timekeeper
    ) throws(SystemError) {
        func variable(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
        endpoint = EntraTokenEndpoint(
            authorityHost: Self.authorityHost(parameters, environment), http: http, tls: tls, timeout: timeout,
            time: time)
        self.secrets = secrets
        self.time = time
        let parameters = parameters ?? [:]
        let names = (tenant: variable("AZURE_TENANT_ID"), clientID: variable("AZURE_CLIENT_ID"))
        if let application = parameters.map("clientSecret"), let secret = application.secret("secret") {
            method = .secret(
                tenant: application.string("tenantId") ?? "", clientID: application.string("clientId") ?? "", secret)
        } else if let workload = parameters.map("workloadIdentity") {
            guard let tenant = workload.string("tenantId") ?? names.tenant,
                let clientID = workload.string("clientId") ?? names.clientID,
                let file = workload.string("tokenFile") ?? variable("AZURE_FEDERATED_TOKEN_FILE")
            else {
                throw SystemError(
                    .misconfigured, "the workload identity is not known",
                    advice: "give `tenantId`, `clientId` and `tokenFile`, or set the AZURE_ variables for them")
            }
            method = .federated(tenant: tenant, clientID: clientID, file: file)
        } else if parameters["managedIdentity"] == nil, let tenant = names.tenant, let clientID = names.clientID,
            variable("AZURE_CLIENT_SECRET") != nil
        {
            method = .secret(tenant: tenant, clientID: clientID, .environment("AZURE_CLIENT_SECRET"))
        } else if parameters["managedIdentity"] == nil, let tenant = names.tenant, let clientID = names.clientID,
            let file = variable("AZURE_FEDERATED_TOKEN_FILE")
        {
            method = .federated(tenant: tenant, clientID: clientID, file: file)
        } else {
            let identity = parameters.map("managedIdentity")
            method = .managed(
                try ManagedIdentity(
                    clientID: identity == nil ? names.clientID : identity?.string("clientId"),
                    endpoint: identity?.string("endpoint"), environment: environment, http: http, timeout: timeout,
                    time: time))
        }
    }

    /// Where tokens are given out: `authorityHost`, `AZURE_AUTHORITY_HOST` or the public cloud's.
    package static func authorityHost(_ parameters: Parameters?, _ environment: [String: String]) -> String {
        if let own = parameters?.string("authorityHost") { return own }
        guard let host = environment["AZURE_AUTHORITY_HOST"], !host.isEmpty else { return publicAuthority }
        return host.contains("://") ? host : "https://\(host)"
    }

    /// The tenant whose application Keyturn is; `nil` for a managed identity.
    package var tenant: String? {
        switch method {
        case .secret(let tenant, _, _), .federated(let tenant, _, _): tenant
        case .managed: nil
        }
    }

    /// The tokens for a resource, such as `https://vault.azure.net`.
    package func tokens(for resource: String) -> AccessTokenCache {
        AccessTokenCache(time: time) { [self] () async throws(SystemError) in try await logIn(resource) }
    }

    private func logIn(_ resource: String) async throws(SystemError) -> AccessToken {
        let answer: EntraTokenEndpoint.Answer
        switch method {
        case .secret(let tenant, let clientID, let reference):
            answer = try await endpoint.logIn(
                tenant: tenant, clientID: clientID, proof: .secret(try await secrets.resolve(reference)),
                resource: resource)
        case .federated(let tenant, let clientID, let file):
            answer = try await endpoint.logIn(
                tenant: tenant, clientID: clientID,
                proof: .assertion(try LaidDownToken.read(file, as: "the federated token")),
                resource: resource)
        case .managed(let identity): return try await identity.logIn(resource: resource)
        }
        switch answer {
        case .token(let token): return token
        case .refused(let refusal): throw refusal.error
        }
    }

    /// The parameters that every Azure system takes under `auth`.
    package static let schema = ParameterSchema([
        ParameterField(
            "clientSecret",
            .object(
                ParameterSchema([
                    ParameterField("tenantId", .string(), required: true, "The tenant's id or domain."),
                    ParameterField("clientId", .string(), required: true, "The application's (client) id."),
                    ParameterField("secret", .secret, required: true, "Reference to a secret of the application."),
                ])), "Login as an application with a secret."),
        ParameterField(
            "workloadIdentity",
            .object(
                ParameterSchema([
                    ParameterField("tenantId", .string(), "The tenant's id or domain; AZURE_TENANT_ID when absent."),
                    ParameterField("clientId", .string(), "The application's id; AZURE_CLIENT_ID when absent."),
                    ParameterField(
                        "tokenFile", .path, "File of the federated token; AZURE_FEDERATED_TOKEN_FILE when absent."),
                ])), "Login as an application with a federated token."),
        ParameterField(
            "managedIdentity",
            .object(
                ParameterSchema([
                    ParameterField("clientId", .string(), "An identity that was assigned; the machine's when absent."),
                    ParameterField("endpoint", .url, "Another metadata service, for tests."),
                ])), "Login as the identity of the machine or app."),
        ParameterField(
            "authorityHost", .url,
            "Where tokens are given out; AZURE_AUTHORITY_HOST, else https://login.microsoftonline.com, when absent."),
    ]) { parameters, _ in
        let named = ["clientSecret", "workloadIdentity", "managedIdentity"].filter { parameters[$0] != nil }
        return named.dropFirst().map { name in
            ParameterProblem(path: [name], message: "it has both '\(named[0])' and '\(name)'; keep one")
        }
    }
}
