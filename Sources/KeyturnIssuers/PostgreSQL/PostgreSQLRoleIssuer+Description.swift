import KeyturnCore

extension PostgreSQLRoleIssuer {
    static let type = IssuerType(description: description) { _, parameters, services in
        PostgreSQLRoleIssuer(parameters, services)
    }

    static let description = IssuerDescription(
        type: "postgresql-role", summary: "Passwords of PostgreSQL roles: two roles in turn, or one.",
        configuration: ParameterSchema(
            [
                ParameterField(
                    "host", .string(), required: true, "The server: a name, an address, or the folder of its socket."),
                ParameterField("port", .integer(1...65_535), default: .integer(5432), "Its port."),
                ParameterField("database", .string(), default: .string("postgres"), "The database to connect to."),
                ParameterField("user", .string(), required: true, "Keyturn's own role there."),
                ParameterField("password", .secret, "The password of that role, where it is asked for one."),
                ParameterField(
                    "sslMode", .choice(["disable", "require", "verify-ca", "verify-full"]),
                    "How the server is known; verify-full for another machine when absent."),
                ParameterField("caFile", .path, "PEM file of certificate authorities in place of the system's."),
                ParameterField("certificateFile", .path, "PEM file of the certificate of Keyturn's role."),
                ParameterField("keyFile", .path, "PEM file of its key."),
                ParameterField(
                    "allowInsecure", .boolean, "Whether a server on another machine need not prove who it is."),
                ParameterField("timeout", .duration(1...300), default: .integer(10), "How long one question may take."),
            ] + PasswordRules.fields
        ) { parameters, _ in
            var problems: [ParameterProblem] = []
            let trusts = ["disable", "require"].contains(PostgreSQLServer.sslMode(parameters))
            if trusts, !PostgreSQLServer.isLocal(parameters), parameters.boolean("allowInsecure") != true {
                problems.append(
                    ParameterProblem(
                        path: ["sslMode"],
                        message: "the server is on another machine and would not be verified: take verify-full, "
                            + "or set `allowInsecure: true` where the network is trusted"))
            }
            if (parameters.string("certificateFile") == nil) != (parameters.string("keyFile") == nil) {
                problems.append(
                    ParameterProblem(path: [], message: "`certificateFile` and `keyFile` come together"))
            }
            return problems
        },
        issue: ParameterSchema(
            [
                ParameterField(
                    "users", .list(of: .string(), minimumCount: 2),
                    "Two roles that take turns; the first gets a password first."),
                ParameterField("user", .string(), "One role, whose old password stops when the new one is set."),
                ParameterField(
                    "format", .choice(LoginMaterial.formats),
                    "What the value is; json with two roles and password with one when absent."),
                ParameterField(
                    "database", .string(), "Where consumers connect and passwords are tried; the issuer's when absent."),
                ParameterField("host", .string(), "The server as consumers reach it; the issuer's when absent."),
                ParameterField("port", .integer(1...65_535), "Its port for consumers; the issuer's when absent."),
                ParameterField(
                    "validUntil", .boolean, default: .boolean(false),
                    "Whether the server shall end the password with its lifetime."),
                ParameterField(
                    "iterations", .integer(4096...1_000_000), "Rounds of the verifier; 4096 when absent."),
            ] + PasswordRules.fields),
        traits: IssuerTraits(kind: .chosen, keyLimit: 2, checks: true),
        fields: LoginMaterial.fields + ["database"], check: problems)

    @Sendable private static func problems(
        _ configuration: Parameters, _ issue: Parameters, _ lifetime: Int64?
    ) -> [ParameterProblem] {
        var problems = PasswordRules.problems(
            configuration.filter { name, _ in PasswordRules.fields.contains { $0.name == name } }
                .merging(issue) { _, policy in policy })
        let users = issue.strings("users")
        switch (users, issue.string("user")) {
        case (nil, nil), (.some, .some):
            problems.append(
                ParameterProblem(path: [], message: "either `users`, two roles that take turns, or `user` is needed"))
        case (nil, .some):
            problems.append(
                ParameterProblem(
                    path: ["user"],
                    message: "the old password of a single role stops before consumers have the new one; "
                        + "with two roles in `users` nobody is refused", isWarning: true))
        case (let users?, nil):
            if users.count != 2 || Set(users).count != 2 {
                problems.append(ParameterProblem(path: ["users"], message: "two different roles take turns"))
            }
        }
        for name in (users ?? []) + [issue.string("user")].compactMap({ $0 }) where name.utf8.count > 63 {
            problems.append(
                ParameterProblem(
                    path: [users == nil ? "user" : "users"], message: "a role's name has 63 bytes at most"))
        }
        if issue.boolean("validUntil") == true, lifetime == nil {
            problems.append(
                ParameterProblem(
                    path: ["validUntil"], message: "a key that never expires has no end for the server to set"))
        }
        return problems
    }
}
