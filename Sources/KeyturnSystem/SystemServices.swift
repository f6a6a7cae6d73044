package import KeyturnCore
package import KeyturnHTTP

/// What every outside system is given when it is made.
package struct SystemServices: Sendable {
    package let http: HTTPClient
    package let secrets: any SecretResolver
    package let environment: [String: String]
    package let time: any Timekeeper
    /// The configuration's folder, absolute.
    package let folder: String
    /// The identity file that keyturn.yaml names, absolute.
    package let identityPath: String?

    package init(
        http: HTTPClient, secrets: any SecretResolver, environment: [String: String], time: any Timekeeper,
        folder: String, identityPath: String?
    ) {
        self.http = http
        self.secrets = secrets
        self.environment = environment
        self.time = time
        self.folder = folder
        self.identityPath = identityPath
    }
}
