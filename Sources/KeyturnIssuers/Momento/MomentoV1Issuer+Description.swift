import KeyturnCore

extension MomentoV1Issuer {
    static let type = IssuerType(description: description) { _, parameters, services in
        MomentoV1Issuer(parameters, services)
    }

    static let description = IssuerDescription(
        type: "momento-v1",
        summary: "API keys of Momento's first generation, which hold their permissions and end at their expiry alone.",
        configuration: ParameterSchema(
            [
                ParameterField(
                    "apiKey", .secret,
                    "The super-user key of the cell that makes keys; not needed where all policies refresh."),
                ParameterField(
                    "address", .url,
                    "Where the service for keys is; https://control.CELL of the calling key when absent."),
            ] + MomentoConnection.fields),
        issue: ParameterSchema([
            MomentoPermission.field,
            ParameterField("superUser", .boolean, "Momento's console alone makes such a key; see `renew`."),
            ParameterField(
                "renew", .choice(["generate", "refresh"]), default: .string("generate"),
                "Whether each next key is made anew, or out of the one before with its refresh token."),
            MomentoCacheProbe.field,
        ]),
        traits: IssuerTraits(kind: .unlistable, enforcesExpiry: true, checks: true, revokes: false),
        fields: ["apiKey", "endpoint", "refreshToken"], check: problems)

    @Sendable private static func problems(
        _ configuration: Parameters, _ issue: Parameters, _ lifetime: Int64?
    ) -> [ParameterProblem] {
        let refreshes = issue.string("renew") == "refresh"
        var (statements, problems) = MomentoPermission.read(issue)
        if issue.boolean("superUser") == true {
            if !refreshes || issue["permissions"] != nil {
                problems.append(
                    ParameterProblem(
                        path: ["superUser"],
                        message:
                            "no key can make a super-user key: make it in Momento's console, hand it over with `keyturn adopt`, and write 'renew: refresh' without 'permissions', which keeps its rights"
                    ))
            }
        } else if issue["permissions"] == nil {
            problems.append(
                ParameterProblem(
                    path: [],
                    message: refreshes
                        ? "write 'permissions' for a first key, or 'superUser: true' for one that the console made"
                        : "a key needs 'permissions'"))
        }
        if issue["permissions"] != nil, configuration["apiKey"] == nil {
            problems.append(
                ParameterProblem(
                    path: ["permissions"], message: "making a key needs the issuer's 'apiKey' in keyturn.yaml"))
        }
        if let lifetime, lifetime > Int64(UInt32.max) {
            problems.append(ParameterProblem(path: [], message: "Momento takes lifetimes of up to 49710 days"))
        }
        if let subject = MomentoCacheProbe.subject(issue) {
            if !statements.isEmpty, !statements.contains(where: { $0.allowsReading(subject) }) {
                problems.append(
                    ParameterProblem(
                        path: ["check"],
                        message: "no statement lets the key read item '\(subject.item)' of cache '\(subject.cache)'"))
            }
        } else if self.subject(issue) == nil {
            problems.append(MomentoConnection.unproven)
        }
        return problems + MomentoConnection.problems(ofLifetime: lifetime)
    }
}
