import KeyturnCore

/// Takes on a role through AWS STS. Source: the STS API reference, version 2011-06-15, AssumeRole and
/// AssumeRoleWithWebIdentity.
struct SecurityTokenService: Sendable {
    private let client: AWSQueryClient

    static let version = "2011-06-15"

    init(
        endpoint: String, region: String, tls: TLSSettings, timeout: Int, http: HTTPClient, time: any Timekeeper
    ) {
        client = AWSQueryClient(
            service: "sts", version: Self.version, endpoint: endpoint, region: region, tls: tls, timeout: timeout,
            http: http, time: time)
    }

    /// - Parameters:
    ///   - duration: 900 to 43,200 seconds; no longer than the role allows, and an hour when the caller is a role itself.
    ///   - externalID: what the role's owner asks third parties to say; no secret.
    func assume(
        _ role: String, sessionName: String, externalID: String?, duration: Int, as credentials: AWSCredentials
    ) async throws(SystemError) -> TemporaryAWSCredentials {
        var parameters = [
            ("RoleArn", role), ("RoleSessionName", sessionName), ("DurationSeconds", String(duration)),
        ]
        if let externalID { parameters.append(("ExternalId", externalID)) }
        return try await call("AssumeRole", parameters, role, as: credentials)
    }

    /// The token itself is the proof; the request is not signed.
    func assume(
        _ role: String, sessionName: String, webIdentity token: SecretValue
    ) async throws(SystemError) -> TemporaryAWSCredentials {
        guard let text = token.exposedText() else {
            throw SystemError(.misconfigured, "the web identity token is not text")
        }
        return try await call(
            "AssumeRoleWithWebIdentity",
            [("RoleArn", role), ("RoleSessionName", sessionName), ("WebIdentityToken", text)], role, as: nil)
    }

    private func call(
        _ action: String, _ parameters: [(String, String)], _ role: String, as credentials: AWSCredentials?
    ) async throws(SystemError) -> TemporaryAWSCredentials {
        let answer: XMLElement
        do { answer = try await client.call(action, parameters, as: credentials) } catch {
            throw Self.failure(error, role)
        }
        guard let held = answer.at("\(action)Result", "Credentials"), let id = held.first("AccessKeyId")?.text,
            let key = held.first("SecretAccessKey")?.text, let token = held.first("SessionToken")?.text,
            let expiresAt = held.first("Expiration").flatMap({ RFC3339.parse($0.text) }), !id.isEmpty, !key.isEmpty,
            !token.isEmpty
        else { throw SystemError(.badAnswer, "AWS sts answered without credentials") }
        return TemporaryAWSCredentials(
            credentials: AWSCredentials(
                accessKeyID: id, secretAccessKey: SecretValue(utf8: key), sessionToken: SecretValue(utf8: token)),
            expiresAt: expiresAt)
    }

    /// No credential that was not answered does anything: nothing has happened, whatever failed.
    private static func failure(_ error: any Error, _ role: String) -> SystemError {
        guard let refusal = error as? AWSQueryClient.Refusal else {
            return (error as? SystemError)?.withoutEffect ?? SystemError(.local, "taking on a role failed")
        }
        switch refusal.code {
        case "IDPCommunicationError":
            return SystemError(.unavailable, "AWS sts can't reach the provider of the web identity")
        case "InvalidIdentityToken", "IDPRejectedClaim", "ExpiredTokenException":
            return SystemError(
                .unauthorized, "AWS sts refuses the web identity token (\(refusal.code))",
                advice: "see whether its file is replaced before the token ends, and what its audience is")
        case "AccessDenied", "AccessDeniedException":
            return SystemError(
                .forbidden, "AWS sts does not let us take on the role \(role)",
                advice: "see the trust policy of the role, and sts:AssumeRole in ours")
        case "ValidationError":
            return SystemError(
                .misconfigured, "AWS sts takes the role or the session for wrong",
                advice: "see roleArn, and how long the role allows a session to be")
        default: return refusal.error.withoutEffect
        }
    }
}
