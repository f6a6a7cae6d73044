import KeyturnCore
import KeyturnHTTP

extension GCPSecretManagerBackend {
    static let type = BackendType(description: description) { _, parameters, services in
        GCPSecretManagerBackend(parameters, services)
    }

    static let description = BackendDescription(
        type: "gcp-secret-manager", summary: "Google Cloud Secret Manager.",
        configuration: ParameterSchema(
            [
                ParameterField("project", .string(), required: true, "The project's id or number."),
                ParameterField(
                    "auth", .object(GoogleLogin.schema), "How to log in; as the environment says when absent."),
                ParameterField(
                    "alias", .string(),
                    "The version alias that consumers read, which lets a pending version lie there unseen; `latest` when "
                        + "absent."),
                ParameterField(
                    "prune", .choice(["destroy", "disable"]), default: .string("destroy"),
                    "What becomes of versions that are over."),
                ParameterField(
                    "locations", .list(of: .string(), minimumCount: 1),
                    "Where secrets that Keyturn creates are kept; Google chooses when absent."),
                ParameterField("location", .string(), "The one region of regional secrets."),
                ParameterField("labels", .stringMap, "Labels for secrets that Keyturn creates."),
                ParameterField(
                    "changesPerSecond", .integer(1...1000), default: .integer(2),
                    "How often one secret is changed in a second; Google's quota is two."),
                ParameterField("endpoint", .url, "Another server, for tests."),
                ParameterField("timeout", .duration(1...300), default: .integer(30), "How long one request may take."),
                TLSSettings.caFile, TLSSettings.allowInsecure,
            ], check: { parameters, _ in problems(parameters) }), target: ParameterSchema(),
        traits: BackendTraits(staging: .onPromote, readsBack: true, lists: true, destroys: true)
    ) { path in
        let allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        guard (1...255).contains(path.utf8.count), path.utf8.allSatisfy({ allowed.utf8.contains($0) }) else {
            let proposal = String(
                path.map { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") ? $0 : "-" }.prefix(255))
            return
                "Secret Manager allows letters, digits, '-' and '_' only, 255 at most; give it a path such as '\(proposal)'"
        }
        return nil
    }

    private static func problems(_ parameters: Parameters) -> [ParameterProblem] {
        var problems: [ParameterProblem] = []
        if let alias = parameters.string("alias"), !isAlias(alias) {
            problems.append(
                ParameterProblem(
                    path: ["alias"],
                    message: "an alias begins with a letter and holds letters, digits, '-' and '_', 63 at most; "
                        + "'latest' and 'NEW' are none"))
        }
        if parameters["location"] != nil, parameters["locations"] != nil {
            problems.append(
                ParameterProblem(path: ["locations"], message: "it has both 'location' and 'locations'; keep one"))
        }
        for name in ["project", "location"] {
            guard let text = parameters.string(name), !isWord(text) else { continue }
            problems.append(ParameterProblem(path: [name], message: "it holds letters, digits, '-', ':' and '.' only"))
        }
        return problems
    }

    private static func isAlias(_ text: String) -> Bool {
        let isWhole = text.utf8.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "-") || $0 == UInt8(ascii: "_") }
        let beginsWell = text.utf8.first.map { isAlphanumeric($0) && !(0x30...0x39).contains($0) } ?? false
        return isWhole && beginsWell && text.utf8.count <= 63 && text != "latest" && text != "NEW"
    }

    private static func isWord(_ text: String) -> Bool {
        text.utf8.allSatisfy { isAlphanumeric($0) || "-:.".utf8.contains($0) }
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        (0x30...0x39).contains(byte) || (0x41...0x5A).contains(byte) || (0x61...0x7A).contains(byte)
    }
}
