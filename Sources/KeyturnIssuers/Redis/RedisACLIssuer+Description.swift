import KeyturnCore
import KeyturnHTTP

extension RedisACLIssuer {
    static let type = IssuerType(description: description) { _, parameters, services in
        RedisACLIssuer(parameters, services)
    }

    static let description = IssuerDescription(
        type: "redis-acl", summary: "Passwords of users of Redis and Valkey.",
        configuration: ParameterSchema(
            [
                ParameterField(
                    "addresses", .list(of: .string(), minimumCount: 1), required: true,
                    "Every server: redis://HOST:PORT, rediss://HOST:PORT with TLS, or unix:PATH."),
                ParameterField("user", .string(), default: .string("default"), "Keyturn's own user there."),
                ParameterField("password", .secret, "Its password, where it needs one."),
                ParameterField(
                    "save", .choice(["acl-file", "config-file", "never"]), default: .string("acl-file"),
                    "Where the servers keep their users over a restart."),
                ParameterField("timeout", .duration(1...300), default: .integer(10), "How long one question may take."),
                TLSSettings.caFile,
                ParameterField("certificateFile", .path, "PEM file of a client certificate."),
                ParameterField("keyFile", .path, "PEM file of its key."),
                ParameterField("allowInsecure", .boolean, "Whether redis:// may leave this machine."),
            ] + PasswordRules.fields, check: problems),
        issue: ParameterSchema(
            [
                ParameterField("user", .string(), required: true, "The user whose password is turned over."),
                ParameterField("format", .choice(LoginMaterial.formats), "What the value is; password when absent."),
                ParameterField("host", .string(), "The server as consumers reach it; the first when absent."),
                ParameterField("port", .integer(1...65_535), "Its port for consumers; that of the first when absent."),
            ] + PasswordRules.fields),
        traits: IssuerTraits(kind: .chosen, checks: true), fields: LoginMaterial.fields
    ) { configuration, issue, _ in
        PasswordRules.problems(configuration.merging(issue) { _, policy in policy })
    }

    @Sendable private static func problems(
        _ parameters: Parameters, _ environment: [String: String]
    ) -> [ParameterProblem] {
        var problems: [ParameterProblem] = []
        for (index, text) in (parameters.strings("addresses") ?? []).enumerated() {
            let path = ["addresses", String(index)]
            guard let address = RedisServers.address(text) else {
                problems.append(
                    ParameterProblem(
                        path: path, message: "an address is redis://HOST:PORT, rediss://HOST:PORT or unix:/PATH"))
                continue
            }
            if !address.isSecure, !address.isLocal, parameters.boolean("allowInsecure") != true {
                problems.append(
                    ParameterProblem(
                        path: path,
                        message: "redis:// would send passwords in the clear to another machine: take rediss://, "
                            + "or set `allowInsecure: true` where the network is trusted"))
            }
        }
        if parameters.string("save") == "never" {
            problems.append(
                ParameterProblem(
                    path: ["save"],
                    message:
                        "a server that restarts forgets the new passwords, and refuses consumers until somebody sets "
                        + "them again", isWarning: true))
        }
        if (parameters.string("certificateFile") == nil) != (parameters.string("keyFile") == nil) {
            problems.append(ParameterProblem(path: [], message: "`certificateFile` and `keyFile` come together"))
        }
        return problems
    }
}
