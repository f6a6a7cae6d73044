import KeyturnCore

extension MomentoIssuer {
    static let type = IssuerType(description: description) { (_, parameters, services) throws(SystemError) in
        try MomentoIssuer(parameters, services)
    }

    static let description = IssuerDescription(
        type: "momento", summary: "API keys of Momento's second generation, which belong to a role and can be revoked.",
        configuration: ParameterSchema(
            [
                ParameterField(
                    "apiKey", .secret, required: true, "The key with which Keyturn calls; its role manages API keys."),
                ParameterField(
                    "endpoint", .string(), required: true,
                    "The host of the cell that consumers speak to, such as cell-1-eu-west-1-1.prod.a.momentohq.com."),
                ParameterField("address", .url, default: .string(usualAddress), "The account's API for keys."),
            ] + MomentoConnection.fields
        ) { parameters, _ in
            MomentoKey.isHost(parameters.string("endpoint") ?? "")
                ? [] : [ParameterProblem(path: ["endpoint"], message: "an endpoint is a host name, without https://")]
        },
        issue: ParameterSchema([
            ParameterField("role", .string(), required: true, "The id of the role whose rights the key has."),
            MomentoCacheProbe.field,
        ]),
        traits: IssuerTraits(kind: .listable, enforcesExpiry: true, checks: true), fields: ["endpoint"]
    ) { _, issue, lifetime in
        MomentoConnection.problems(ofLifetime: lifetime)
            + (issue.map("check") == nil ? [MomentoConnection.unproven] : [])
    }
}
