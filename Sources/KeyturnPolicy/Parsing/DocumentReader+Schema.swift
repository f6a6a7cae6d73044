import Foundation
import KeyturnCore
import Yams

extension DocumentReader {
    /// Reads parameters as a schema asks for them, with the defaults put in. Where each of them is right, the schema's own
    /// check looks at them together.
    ///
    /// - Parameter also: names that are read elsewhere and are no mistake here.
    func parameters(
        _ fields: Fields, _ schema: ParameterSchema, _ what: String, also: [String] = []
    ) -> Parameters {
        let before = complaints
        expect(schema.names + also, in: fields, what)
        var parameters: Parameters = [:]
        for field in schema.fields {
            if let node = fields[field.name] {
                parameters[field.name] = value(node, field.kind, "'\(field.name)' of \(what)")
            } else if field.required {
                complain(at: fields.mark, "\(what) lacks '\(field.name)': \(field.summary)")
            } else if let fallback = field.fallback {
                parameters[field.name] = fallback
            }
        }
        for field in schema.fields where field.kind.takesURL { refusePlain(field.name, fields, parameters, what) }
        guard complaints == before else { return parameters }
        for problem in schema.check(parameters, environment) {
            complain(
                at: mark(of: problem.path, in: fields), "\(what): \(problem.message)",
                severity: problem.isWarning ? .warning : .error)
        }
        return parameters
    }

    /// Plain HTTP leaves this machine only where that is said to be wanted.
    private func refusePlain(_ name: String, _ fields: Fields, _ parameters: Parameters, _ what: String) {
        // One that is no boolean was complained about.
        guard fields["allowInsecure"] == nil || parameters.boolean("allowInsecure") == false,
            let parts = parameters.string(name).flatMap(URLComponents.init(string:)),
            parts.scheme?.lowercased() == "http", let host = parts.host, !Loopback.contains(host)
        else { return }
        complain(
            at: fields[name]?.mark,
            "'\(name)' of \(what) is plain http to another machine; use https://, or set 'allowInsecure: true' where the network is trusted"
        )
    }

    /// The place that a path leads to, as far as it is written there.
    private func mark(of path: [String], in fields: Fields) -> Mark? {
        guard let first = path.first, var node = fields[first] else { return fields.mark }
        for step in path.dropFirst() {
            let next: Node? =
                switch node {
                case .mapping(let mapping): mapping.first { $0.key.scalar?.string == step }?.value
                case .sequence(let sequence): Int(step).flatMap { sequence.indices.contains($0) ? sequence[$0] : nil }
                case .scalar, .alias: nil
                }
            guard let next else { break }
            node = next
        }
        return node.mark
    }

    private func value(_ node: Node, _ kind: ParameterKind, _ what: String) -> ParameterValue? {
        switch kind {
        case .string(let minimumLength):
            guard let text = string(node, what) else { return nil }
            guard text.count >= minimumLength else {
                complain(at: node.mark, "\(what) must have at least \(minimumLength) characters")
                return nil
            }
            return .string(text)
        case .integer(let range): return integer(node, what, in: range).map(ParameterValue.integer)
        case .boolean: return boolean(node, what).map(ParameterValue.boolean)
        case .duration(let range):
            guard let duration = duration(node, what) else { return nil }
            guard range.contains(Int(duration.seconds)) else {
                complain(at: node.mark, "\(what) must lie between \(range.lowerBound)s and \(range.upperBound)s")
                return nil
            }
            return .integer(Int(duration.seconds))
        case .choice(let choices): return choice(node, choices, what)
        case .list(let kind, let minimumCount):
            guard let items = list(node, what) else { return nil }
            guard items.count >= minimumCount else {
                complain(at: node.mark, "\(what) needs at least \(minimumCount) entr\(minimumCount == 1 ? "y" : "ies")")
                return nil
            }
            return .list(items.compactMap { value($0, kind, "an entry of \(what)") })
        case .object(let schema): return map(node, what).map { .map(parameters($0, schema, what)) }
        case .stringMap:
            guard let fields = map(node, what) else { return nil }
            let pairs = fields.entries.compactMap { entry in
                string(entry.value, "'\(entry.name)' of \(what)").map { (entry.name, ParameterValue.string($0)) }
            }
            return .map(Dictionary(pairs) { first, _ in first })
        case .secret: return secret(node, what).map(ParameterValue.secret)
        case .path: return string(node, what).map { .string(absolute($0)) }
        case .url: return url(node, what)
        case .command: return command(node, what).map { .list($0.map(ParameterValue.string)) }
        case .either(let kinds): return either(node, kinds, what)
        case .any: return plain(node)
        }
    }

    private func choice(_ node: Node, _ choices: [String], _ what: String) -> ParameterValue? {
        guard let text = string(node, what) else { return nil }
        guard choices.contains(text) else {
            complain(
                at: node.mark, "\(what) must be one of \(choices.joined(separator: ", "))")
            return nil
        }
        return .string(text)
    }

    private func url(_ node: Node, _ what: String) -> ParameterValue? {
        guard let text = string(node, what) else { return nil }
        let parts = URLComponents(string: text)
        guard let scheme = parts?.scheme?.lowercased(), scheme == "http" || scheme == "https",
            !(parts?.host ?? "").isEmpty, parts?.user == nil
        else {
            complain(at: node.mark, "\(what) must be http:// or https:// with a host, without a user name")
            return nil
        }
        return .string(text)
    }

    private func command(_ node: Node, _ what: String) -> [String]? {
        guard let words = strings(node, what)?.map(\.text) else { return nil }
        guard !words.isEmpty else {
            complain(at: node.mark, "\(what) must name a program")
            return nil
        }
        return words
    }

    /// The shape decides: a map is a reference or an object, anything else one of the others.
    private func either(_ node: Node, _ kinds: [ParameterKind], _ what: String) -> ParameterValue? {
        let isMap = if case .mapping = node { true } else { false }
        let fitting = kinds.first { kind in
            switch kind {
            case .secret, .object, .stringMap: isMap
            default: !isMap
            }
        }
        return fitting.flatMap { value(node, $0, what) }
    }

    /// A reference to a secret. A literal is refused, and not repeated.
    private func secret(_ node: Node, _ what: String) -> SecretReference? {
        let forms = "{env: NAME}, {file: PATH}, {command: [PROGRAM, ...]} or {vault: SECRET}"
        guard case .mapping = node, let fields = map(node, what) else {
            complain(at: node.mark, "\(what) must be a reference, never the secret itself: \(forms)")
            return nil
        }
        let known = ["env", "file", "command", "vault"]
        guard fields.entries.count == 1, let entry = fields.entries.first, known.contains(entry.name) else {
            complain(at: node.mark, "\(what) must be one reference: \(forms)")
            return nil
        }
        switch entry.name {
        case "env":
            guard let name = string(entry.value, "'env' of \(what)") else { return nil }
            guard Self.isVariable(name) else {
                // It may be the secret itself.
                complain(at: entry.value.mark, "'env' of \(what) is not the name of a variable, such as API_KEY")
                return nil
            }
            return .environment(name)
        case "file": return string(entry.value, "'file' of \(what)").map { .file(absolute($0)) }
        case "command": return command(entry.value, "'command' of \(what)").map(SecretReference.command)
        default:
            guard let text = string(entry.value, "'vault' of \(what)") else { return nil }
            guard let name = try? SecretName(text) else {
                complain(at: entry.value.mark, "'vault' of \(what) is not a secret's name")
                return nil
            }
            return .vault(name)
        }
    }

    private static func isVariable(_ name: String) -> Bool {
        name.utf8.allSatisfy { byte in
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
                true
            default: false
            }
        } && name.first?.isNumber == false
    }

    /// Any YAML, with plain scalars as what they look like.
    private func plain(_ node: Node) -> ParameterValue {
        switch node {
        case .scalar(let scalar):
            if isNull(scalar) { return .null }
            guard scalar.style == .plain else { return .string(scalar.string) }
            if scalar.string == "true" || scalar.string == "false" { return .boolean(scalar.string == "true") }
            if let number = Int(scalar.string) { return .integer(number) }
            if let number = Double(scalar.string), number.isFinite { return .decimal(number) }
            return .string(scalar.string)
        case .sequence(let sequence): return .list(sequence.map(plain))
        case .mapping(let mapping):
            let pairs = mapping.map { key, value in (key.scalar?.string ?? "", plain(value)) }
            return .map(Dictionary(pairs) { first, _ in first })
        case .alias: return .null
        }
    }
}

extension ParameterKind {
    /// Whether an address may stand there.
    fileprivate var takesURL: Bool {
        switch self {
        case .url: true
        case .either(let kinds): kinds.contains { $0.takesURL }
        default: false
        }
    }
}
