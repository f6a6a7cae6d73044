import KeyturnCore

extension MomentoPermission {
    static let field = ParameterField(
        "permissions",
        .list(
            of: .object(
                ParameterSchema([
                    ParameterField("cache", .string(), required: true, "The name of a cache, or \"*\" for all."),
                    ParameterField(
                        "role", .choice(Role.allCases.map(\.rawValue)), required: true,
                        "For items readwrite, readonly or writeonly; for topics publishsubscribe, subscribeonly or publishonly; for functions invoke."
                    ),
                    ParameterField("items", selector("key"), "\"*\", {key: KEY} or {prefix: PREFIX}; all when absent."),
                    ParameterField("topic", selector("name"), "A topic's name, \"*\" for all, or {prefix: PREFIX}."),
                    ParameterField(
                        "function", selector("name"), "A function's name, \"*\" for all, or {prefix: PREFIX}."),
                ])), minimumCount: 1),
        "What the key may do, statement by statement.")

    private static func selector(_ name: String) -> ParameterKind {
        .either([
            .string(),
            .object(
                ParameterSchema([
                    ParameterField(name, .string(), "The whole \(name)."),
                    ParameterField("prefix", .string(), "How it begins."),
                ])),
        ])
    }

    /// The statements of a policy and what is wrong with them.
    static func read(_ parameters: Parameters) -> (statements: [MomentoPermission], problems: [ParameterProblem]) {
        var statements: [MomentoPermission] = []
        var problems: [ParameterProblem] = []
        var first: [Subject: (index: Int, role: Role)] = [:]
        let entries = parameters.list("permissions") ?? []
        for (index, entry) in entries.enumerated() {
            guard case .map(let members) = entry else { continue }
            let path = ["permissions", String(index)]
            do throws(Mistake) {
                let statement = try MomentoPermission(members)
                if let other = first[statement.subject] {
                    problems.append(
                        ParameterProblem(
                            path: path,
                            message: other.role == statement.role
                                ? "the statement repeats number \(other.index + 1), and Momento refuses that"
                                : "the statement gives another role for the subject of number \(other.index + 1), and Momento refuses that"
                        ))
                } else {
                    first[statement.subject] = (index, statement.role)
                }
                statements.append(statement)
            } catch { problems.append(ParameterProblem(path: path + [error.field], message: error.reason)) }
        }
        if entries.count > mostStatements {
            problems.append(
                ParameterProblem(
                    path: ["permissions"],
                    message: "a key holds \(mostStatements) statements at most, and these are \(entries.count)"))
        } else if entries.count > manyStatements {
            problems.append(
                ParameterProblem(
                    path: ["permissions"],
                    message:
                        "Momento's documents name \(manyStatements) statements as the most for a key in one place and \(mostStatements) in another; it may refuse \(entries.count)",
                    isWarning: true))
        }
        return (statements, problems)
    }
}
