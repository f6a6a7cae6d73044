import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

extension HTTPIssuer {
    static let type = IssuerType(description: description) { (_, parameters, services) throws(SystemError) in
        try HTTPIssuer(parameters, services)
    }

    static let description = IssuerDescription(
        type: "http", summary: "Keys of any interface that speaks JSON over HTTP, described in the configuration.",
        configuration: ParameterSchema(
            [
                ParameterField(
                    "create", .object(RequestTemplate.schema(method: "POST")), required: true, "Makes a key."),
                ParameterField("answer", .object(AnswerPlaces.schema), required: true, "What `create` answers."),
                ParameterField(
                    "list",
                    .object(ParameterSchema(RequestTemplate.schema(method: "GET").fields + ListPlaces.fields)),
                    "Lists the keys."),
                ParameterField(
                    "check",
                    .object(
                        ParameterSchema(
                            RequestTemplate.schema(method: "GET").fields + [
                                ParameterField(
                                    "works", .list(of: .integer(100...599), minimumCount: 1),
                                    "Statuses that mean yes; all from 200 to 299 when absent.")
                            ])), "Tries a key."),
                ParameterField("revoke", .object(RequestTemplate.schema(method: "DELETE")), "Ends a key."),
                ParameterField("keyLimit", .integer(2...1_000_000), "How many keys may exist at once."),
                ParameterField(
                    "listingDelay", .duration(0...3600), default: .integer(60),
                    "For how long a key that was made may not be listed."),
            ] + DescribedInterface.fields, check: { parameters, _ in problems(parameters) }),
        issue: ParameterSchema([
            ParameterField("parameters", .any, "Texts, numbers and lists by name, for `{{name}}`.")
        ]),
        traits: IssuerTraits(kind: .listable, checks: true)
    ) { configuration, issue, lifetime in
        var problems: [ParameterProblem] = []
        let own = issue.map("parameters") ?? [:]
        if issue["parameters"] != nil, issue.map("parameters") == nil {
            problems.append(ParameterProblem(path: ["parameters"], message: "parameters are values by name"))
        }
        for name in own.keys.sorted() where reserved.contains(name) {
            problems.append(
                ParameterProblem(path: ["parameters", name], message: "'\(name)' is a word of Keyturn's own"))
        }
        let known = reserved.union(own.keys).union(DescribedInterface.credentials(configuration).keys)
        for operation in ["create", "list", "revoke"] {
            guard let part = configuration.map(operation), let template = try? RequestTemplate(part) else { continue }
            for word in template.words.subtracting(known).sorted() {
                problems.append(
                    ParameterProblem(
                        path: ["parameters"], message: "'\(operation)' of the issuer asks for a parameter '\(word)'"))
            }
        }
        return problems
    }

    /// What placeholders may be called in requests, besides parameters and credentials.
    private static let reserved: Set = [
        "secret", "version", "lineage", "lifetimeSeconds", "expiresAt", "keyId", "value", "page",
    ]

    private static func problems(_ parameters: Parameters) -> [ParameterProblem] {
        var (problems, templates) = DescribedInterface.problems(
            parameters, operations: ["create", "list", "check", "revoke"], reserved: reserved)
        func complain(_ path: [String], _ message: String) {
            problems.append(ParameterProblem(path: path, message: message))
        }
        if parameters["list"] != nil {
            if templates["create"]?.words.contains("lineage") != true {
                complain(["create"], "a key that is listed is known by its mark: `create` has to hand over {{lineage}}")
            }
            if parameters.map("answer")?.string("keyId") == nil {
                complain(["answer"], "a key that is listed has an id: `keyId` is missing")
            }
            if templates["revoke"]?.words.contains("value") == true {
                complain(["revoke"], "a key whose answer was lost is revoked by its id: {{value}} is not known then")
            }
        }
        problems += DescribedInterface.problems(
            parameters,
            pointers: [
                ("answer", ["value", "keyId", "expiresAt"]),
                ("list", ["items", "keyId", "lineage", "createdAt", "nextPage"]),
            ])
        let fields = parameters.map("answer")?.map("fields") ?? [:]
        for name in fields.keys.sorted() where fields.string(name).flatMap(JSONPointer.init) == nil {
            complain(["answer", "fields", name], "a JSON pointer begins with '/', such as /data/id")
        }
        return problems
    }
}
