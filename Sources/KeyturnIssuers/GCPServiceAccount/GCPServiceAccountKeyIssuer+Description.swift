import KeyturnCore
import KeyturnHTTP

extension GCPServiceAccountKeyIssuer {
    static let type = IssuerType(description: description) { _, parameters, services in
        GCPServiceAccountKeyIssuer(parameters, services)
    }

    static let description = IssuerDescription(
        type: "gcp-service-account-key", summary: "Keys of Google Cloud service accounts; ten at most for each.",
        configuration: ParameterSchema([
            ParameterField("auth", .object(GoogleLogin.schema), "How to log in; as the environment says when absent."),
            ParameterField(
                "listingDelay", .duration(1...3600), default: .integer(120),
                "How long after a lost answer a key may still show up."),
            ParameterField("endpoint", .url, "Another server, for tests."),
            ParameterField("timeout", .duration(1...300), default: .integer(30), "How long one request may take."),
            TLSSettings.caFile, TLSSettings.allowInsecure,
        ]),
        issue: ParameterSchema([
            ParameterField("account", .string(), required: true, "The service account's e-mail address.")
        ]), traits: IssuerTraits(kind: .listable, keyLimit: 10, checks: true, disables: true),
        fields: ["clientEmail", "privateKey", "privateKeyId"]
    ) { _, issue, _ in
        let account = issue.string("account") ?? ""
        let isFine =
            account.utf8.count <= 320 && account.split(separator: "@", omittingEmptySubsequences: false).count == 2
            && account.utf8.allSatisfy { byte in
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_+.@-".utf8.contains(byte)
            }
        return isFine
            ? []
            : [
                ParameterProblem(
                    path: ["account"],
                    message: "an account looks like NAME@PROJECT.iam.gserviceaccount.com")
            ]
    }
}
