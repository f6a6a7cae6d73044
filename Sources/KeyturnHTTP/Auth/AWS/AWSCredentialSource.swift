import Foundation
package import KeyturnCore

/// Where AWS credentials come from.
///
/// What keyturn.yaml says goes first: references, a profile, a web identity. Without a word there it goes on as AWS's own
/// tools do: the environment's key, its web identity, the shared credentials file, the container, the instance. With any
/// of these a further role can be taken on.
///
/// Keys in files and in the environment are read anew for each call, so that rotated ones are picked up; those of roles
/// are kept for as long as they are good.
package struct AWSCredentialSource: Sendable {
    private enum Base: Sendable {
        case references(accessKeyID: SecretReference, secretAccessKey: SecretReference, sessionToken: SecretReference?)
        case profile(String)
        case temporary(CredentialCache<AWSCredentials>)
        /// The environment's key or the shared file's, else what the machine gives out, where it gives out any.
        case usual(machine: CredentialCache<AWSCredentials>?)
    }

    private let base: Base
    private let assumed: CredentialCache<AWSCredentials>?
    private let own: OwnKeys

    /// What a source may use.
    package struct Services: Sendable {
        package let environment: [String: String]
        package let secrets: any SecretResolver
        package let http: HTTPClient
        package let time: any Timekeeper
        /// How STS is spoken to.
        package let tls: TLSSettings
        /// Seconds that one request may take.
        package let timeout: Int
        /// Whose STS is asked.
        package let region: String

        package init(
            environment: [String: String], secrets: any SecretResolver, http: HTTPClient, time: any Timekeeper,
            tls: TLSSettings, timeout: Int, region: String
        ) {
            self.environment = environment
            self.secrets = secrets
            self.http = http
            self.time = time
            self.tls = tls
            self.timeout = timeout
            self.region = region
        }
    }

    /// - Parameter parameters: the map under `credentials`; `nil` for what the environment and the machine say.
    package init(_ parameters: Parameters?, _ services: Services) throws(SystemError) {
        let parameters = parameters ?? [:]
        let environment = services.environment
        own = OwnKeys(environment: environment, secrets: services.secrets)
        func variable(_ name: String) -> String? { environment[name].flatMap { $0.isEmpty ? nil : $0 } }
        let sts = SecurityTokenService(
            endpoint: parameters.string("stsEndpoint") ?? variable("AWS_ENDPOINT_URL_STS")
                ?? variable("AWS_ENDPOINT_URL") ?? "https://sts.\(services.region).amazonaws.com/",
            region: services.region, tls: services.tls, timeout: services.timeout, http: services.http,
            time: services.time)
        func webIdentity(_ role: String, _ file: String, _ session: String?) -> CredentialCache<AWSCredentials> {
            CredentialCache(time: services.time) { () async throws(SystemError) in
                try await sts.assume(
                    role, sessionName: session ?? Self.sessionName,
                    webIdentity: try LaidDownToken.read(file, as: "the web identity token")
                ).grant(at: services.time.now())
            }
        }
        switch (parameters.secret("accessKeyId"), parameters.secret("secretAccessKey")) {
        case (let id?, let key?):
            base = .references(accessKeyID: id, secretAccessKey: key, sessionToken: parameters.secret("sessionToken"))
        case (nil, nil):
            if let identity = parameters.map("webIdentity") {
                guard let role = identity.string("roleArn") ?? variable("AWS_ROLE_ARN"),
                    let file = identity.string("tokenFile") ?? variable("AWS_WEB_IDENTITY_TOKEN_FILE")
                else {
                    throw SystemError(
                        .misconfigured, "the web identity is not known",
                        advice: "give `roleArn` and `tokenFile`, or set AWS_ROLE_ARN and AWS_WEB_IDENTITY_TOKEN_FILE")
                }
                base = .temporary(
                    webIdentity(role, file, identity.string("sessionName") ?? variable("AWS_ROLE_SESSION_NAME")))
            } else if let profile = parameters.string("profile") {
                base = .profile(profile)
            } else if !own.hasKeyInEnvironment, let role = variable("AWS_ROLE_ARN"),
                let file = variable("AWS_WEB_IDENTITY_TOKEN_FILE")
            {
                base = .temporary(webIdentity(role, file, variable("AWS_ROLE_SESSION_NAME")))
            } else {
                base = .usual(machine: Self.machine(services, own))
            }
        default:
            throw SystemError(
                .misconfigured, "credentials need both accessKeyId and secretAccessKey, or neither of them")
        }
        guard let role = parameters.map("assumeRole") else {
            assumed = nil
            return
        }
        let (base, own) = (base, own)
        assumed = CredentialCache(time: services.time) { () async throws(SystemError) in
            try await sts.assume(
                role.string("roleArn") ?? "", sessionName: role.string("sessionName") ?? Self.sessionName,
                externalID: role.string("externalId"), duration: role.seconds("duration") ?? 3600,
                as: try await Self.credentials(base, own)
            ).grant(at: services.time.now())
        }
    }

    private static let sessionName = "keyturn"

    /// - Throws: `misconfigured` when there are none; what STS or the machine answers.
    package func credentials() async throws(SystemError) -> AWSCredentials {
        if let assumed { return try await assumed.credential() }
        return try await Self.credentials(base, own)
    }

    private static func credentials(_ base: Base, _ own: OwnKeys) async throws(SystemError) -> AWSCredentials {
        switch base {
        case .references(let id, let key, let token): return try await own.referred(id, key, token)
        case .profile(let name): return try own.shared(name)
        case .temporary(let cache): return try await cache.credential()
        case .usual(let machine):
            if let found = try own.ofEnvironmentOrFile() { return found }
            guard let machine else { throw own.nothing("") }
            return try await machine.credential()
        }
    }

    /// What the machine gives out: to the container, where the environment names an address for it, else to the instance.
    private static func machine(_ services: Services, _ own: OwnKeys) -> CredentialCache<AWSCredentials>? {
        let container = AWSContainerCredentials(
            environment: services.environment, http: services.http, time: services.time)
        let instance = AWSInstanceCredentials(
            environment: services.environment, http: services.http, time: services.time)
        guard container != nil || instance != nil else { return nil }
        return CredentialCache(time: services.time) { () async throws(SystemError) in
            if let container { return try await container.credentials().grant(at: services.time.now()) }
            guard let instance else { throw own.nothing("") }
            do throws(SystemError) { return try await instance.credentials().grant(at: services.time.now()) } catch {
                // Elsewhere than in AWS nothing answers there, or something else does.
                guard error.code != .rateLimited, error.code != .unavailable, error.code != .cancelled else {
                    throw error
                }
                throw own.nothing(", and this machine gives out none: \(error.message)")
            }
        }
    }
}

extension AWSCredentialSource {
    /// The parameters that every AWS system takes under `credentials`.
    package static let schema = ParameterSchema([
        ParameterField("accessKeyId", .secret, "Reference to the access key id."),
        ParameterField("secretAccessKey", .secret, "Reference to the secret access key."),
        ParameterField("sessionToken", .secret, "Reference to a session token, for temporary credentials."),
        ParameterField("profile", .string(), "Profile in the shared credentials file."),
        ParameterField(
            "webIdentity",
            .object(
                ParameterSchema([
                    ParameterField("roleArn", .string(), "The role; AWS_ROLE_ARN when absent."),
                    ParameterField("tokenFile", .path, "File of the token; AWS_WEB_IDENTITY_TOKEN_FILE when absent."),
                    session,
                ])), "A role that a token of another provider opens, such as that of a Kubernetes service account."),
        ParameterField(
            "assumeRole",
            .object(
                ParameterSchema(
                    [
                        ParameterField("roleArn", .string(), required: true, "The role."),
                        session,
                        ParameterField("externalId", .string(minimumLength: 2), "What the role's owner asks for."),
                        ParameterField(
                            "duration", .duration(900...43_200), default: .integer(3600),
                            "How long a session is asked for."),
                    ], check: { role, _ in problems(role) })),
            "A role that is taken on with these credentials."),
        ParameterField("stsEndpoint", .url, "Another STS server, for tests."),
    ]) { parameters, _ in
        var problems: [ParameterProblem] = []
        switch (parameters["accessKeyId"], parameters["secretAccessKey"], parameters["sessionToken"]) {
        case (_?, nil, _):
            problems = [ParameterProblem(path: ["accessKeyId"], message: "'accessKeyId' needs 'secretAccessKey'")]
        case (nil, _?, _):
            problems = [ParameterProblem(path: ["secretAccessKey"], message: "'secretAccessKey' needs 'accessKeyId'")]
        case (nil, nil, _?):
            problems = [
                ParameterProblem(
                    path: ["sessionToken"], message: "'sessionToken' needs 'accessKeyId' and 'secretAccessKey'")
            ]
        default: break
        }
        let ways = ["accessKeyId", "profile", "webIdentity"].filter { parameters[$0] != nil }
        if ways.count > 1, let last = ways.last {
            problems.append(
                ParameterProblem(path: [last], message: "'\(ways[0])' and '\(last)' exclude each other"))
        }
        return problems
    }

    private static let session = ParameterField(
        "sessionName", .string(minimumLength: 2), "What the session is called in CloudTrail; keyturn when absent.")

    private static func problems(_ role: Parameters) -> [ParameterProblem] {
        guard let arn = role.string("roleArn"), !(arn.hasPrefix("arn:") && arn.contains(":role/")) else { return [] }
        return [
            ParameterProblem(path: ["roleArn"], message: "'roleArn' must be like arn:aws:iam::123456789012:role/NAME")
        ]
    }
}
