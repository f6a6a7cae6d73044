import KeyturnCore
import KeyturnHTTP

extension HTTPIssuer {
    static let type = IssuerType(description: description) { (_, parameters, services) throws(SystemError) in
        try HTTPIssuer(parameters, services)
    }

    static let description = IssuerDescription(
        type: "http", summary: "Keys of any interface that speaks JSON over HTTP, described in the configuration.",
        configuration: ParameterSchema(
            [
                ParameterField("url", .url, required: true, "The address before all paths."),
                ParameterField("headers", .stringMap, "Headers of every request but `check`."),
                ParameterField(
                    "credentials",
                    .list(
                        of: .object(
                            ParameterSchema([
                                ParameterField("name", .string(), required: true, "Its name in `{{name}}`."),
                                ParameterField("secret", .secret, required: true, "Where it is to be had."),
                            ]))), "Keyturn's own secrets, for headers and bodies."),
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
                ParameterField("errors", .stringMap, "Words for statuses that mean something else than usual."),
                ParameterField("keyLimit", .integer(2...1_000_000), "How many keys may exist at once."),
                ParameterField(
                    "listingDelay", .duration(0...3600), default: .integer(60),
                    "For how long a key that was made may not be listed."),
                ParameterField("timeout", .duration(1...300), default: .integer(30), "How long one request may take."),
                TLSSettings.caFile,
                ParameterField("certificateFile", .path, "PEM file of a client certificate."),
                ParameterField("keyFile", .path, "PEM file of its key."),
                TLSSettings.allowInsecure,
            ], check: { parameters, _ in problems(parameters) }),
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
        let known = reserved.union(own.keys).union(credentials(configuration).keys)
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
        var problems: [ParameterProblem] = []
        func complain(_ path: [String], _ message: String) {
            problems.append(ParameterProblem(path: path, message: message))
        }
        let credentials = credentials(parameters)
        for name in credentials.keys.sorted() where reserved.contains(name) {
            complain(["credentials"], "'\(name)' is a word of Keyturn's own")
        }
        var templates: [String: RequestTemplate] = [:]
        for operation in ["create", "list", "check", "revoke"] {
            guard let part = parameters.map(operation) else { continue }
            if part["json"] != nil, part["form"] != nil { complain([operation], "a body is `json` or `form`") }
            if part.string("path")?.hasPrefix("/") != true { complain([operation, "path"], "a path begins with '/'") }
            if part.string("path")?.contains("?") == true {
                complain([operation, "path"], "what stands behind a question mark goes into `query`")
            }
            let common = operation == "check" ? [:] : parameters.map("headers") ?? [:]
            do throws(InvalidTemplate) { templates[operation] = try RequestTemplate(part, headers: common) } catch {
                complain([operation], error.reason)
            }
        }
        for (operation, template) in templates.sorted(by: { $0.key < $1.key }) {
            let shown = template.shownWords.intersection(["value"] + credentials.keys)
            for word in shown.sorted() {
                complain([operation], "servers write paths and queries down: '\(word)' is a secret")
            }
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
        problems += pointerProblems(parameters)
        for (status, word) in (parameters.map("errors") ?? [:]).sorted(by: { $0.key < $1.key }) {
            guard let number = Int(status), (300...599).contains(number), case .string(let text) = word,
                SystemError.Code(rawValue: text) != nil
            else {
                complain(["errors", status], "statuses from 300 to 599 have words such as limitExceeded")
                continue
            }
        }
        return problems
    }

    private static func pointerProblems(_ parameters: Parameters) -> [ParameterProblem] {
        var places: [(path: [String], text: String)] = []
        let answer = parameters.map("answer") ?? [:]
        for name in ["value", "keyId", "expiresAt"] {
            if let text = answer.string(name) { places.append((["answer", name], text)) }
        }
        let fields = answer.map("fields") ?? [:]
        for name in fields.keys.sorted() {
            if let text = fields.string(name) { places.append((["answer", "fields", name], text)) }
        }
        let list = parameters.map("list") ?? [:]
        for name in ["items", "keyId", "lineage", "createdAt", "nextPage"] {
            if let text = list.string(name) { places.append((["list", name], text)) }
        }
        return places.filter { JSONPointer($0.text) == nil }.map { place in
            ParameterProblem(path: place.path, message: "a JSON pointer begins with '/', such as /data/id")
        }
    }
}
