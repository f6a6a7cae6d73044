import KeyturnCore
import Yams

/// Reads the nodes of one file into values, and collects everything that is wrong instead of stopping at the first.
///
/// A getter that finds something wrong says so and gives `nil`. No message repeats a value that could be a secret.
final class DocumentReader {
    let file: String
    /// The configuration file's folder, from which relative paths are taken.
    let folder: String
    /// What checks of parameters may look at.
    let environment: [String: String]
    /// No more than these are kept, so that a file of nothing but mistakes keeps nobody busy.
    static let mostDiagnostics = 1000
    private(set) var diagnostics: [Diagnostic] = []
    /// All of them, those that are not kept too.
    private(set) var complaints = 0

    init(file: String, folder: String, environment: [String: String] = [:]) {
        self.file = file
        self.folder = folder
        self.environment = environment
    }

    func complain(at mark: Mark?, _ message: @autoclosure () -> String, severity: Diagnostic.Severity = .error) {
        complaints += 1
        guard complaints <= Self.mostDiagnostics + 1 else { return }
        let isLast = complaints > Self.mostDiagnostics
        diagnostics.append(
            Diagnostic(
                file: file, line: mark?.line ?? 1, column: mark?.column ?? 1, severity: isLast ? .error : severity,
                message: isLast ? "more is wrong from here on; no more than these are shown" : message()))
    }

    /// A map with its keys as texts; anything else is complained about.
    func map(_ node: Node, _ what: String) -> Fields? {
        guard case .mapping(let mapping) = node else {
            complain(at: node.mark, "\(what) must be a map of names to values")
            return nil
        }
        var entries: [Fields.Entry] = []
        for (key, value) in mapping {
            guard case .scalar(let scalar) = key else {
                complain(at: key.mark, "a name in \(what) must be a text")
                continue
            }
            entries.append(Fields.Entry(name: scalar.string, key: key.mark, value: value))
        }
        return Fields(entries: entries, mark: node.mark)
    }

    /// Complains about names that are not known.
    func expect(_ known: [String], in fields: Fields, _ what: String) {
        for entry in fields.entries where !known.contains(entry.name) {
            complain(
                at: entry.key,
                "unknown field '\(entry.name.prefix(60))' in \(what)\(NearestName.hint(for: entry.name, among: known))")
        }
    }

    func string(_ node: Node, _ what: String) -> String? {
        guard case .scalar(let scalar) = node, !isNull(scalar) else {
            complain(at: node.mark, "\(what) must be a text")
            return nil
        }
        guard !scalar.string.isEmpty else {
            complain(at: node.mark, "\(what) is empty")
            return nil
        }
        return scalar.string
    }

    func boolean(_ node: Node, _ what: String) -> Bool? {
        if case .scalar(let scalar) = node, scalar.style == .plain {
            switch scalar.string {
            case "true", "True", "TRUE": return true
            case "false", "False", "FALSE": return false
            default: break
            }
        }
        complain(at: node.mark, "\(what) must be true or false")
        return nil
    }

    func integer(_ node: Node, _ what: String, in range: ClosedRange<Int>) -> Int? {
        guard case .scalar(let scalar) = node, scalar.style == .plain, let number = Int(scalar.string) else {
            complain(at: node.mark, "\(what) must be a whole number")
            return nil
        }
        guard range.contains(number) else {
            complain(at: node.mark, "\(what) must lie between \(range.lowerBound) and \(range.upperBound)")
            return nil
        }
        return number
    }

    func duration(_ node: Node, _ what: String) -> PolicyDuration? {
        guard let text = string(node, what) else { return nil }
        do throws(InvalidDuration) { return try PolicyDuration(text) } catch {
            complain(at: node.mark, "\(what) is not a duration such as 90s, 15m, 36h, 30d or 1d12h: \(error.reason)")
            return nil
        }
    }

    func list(_ node: Node, _ what: String) -> [Node]? {
        guard case .sequence(let sequence) = node else {
            complain(at: node.mark, "\(what) must be a list")
            return nil
        }
        return Array(sequence)
    }

    func strings(_ node: Node, _ what: String) -> [(text: String, mark: Mark?)]? {
        list(node, what)?.compactMap { item in string(item, "an entry of \(what)").map { ($0, item.mark) } }
    }

    func isNull(_ scalar: Node.Scalar) -> Bool {
        scalar.style == .plain && ["", "~", "null", "Null", "NULL"].contains(scalar.string)
    }

    /// A path from the configuration file's folder.
    func absolute(_ path: String) -> String { path.hasPrefix("/") ? path : "\(folder)/\(path)" }
}

/// The members of a map with their places.
struct Fields {
    struct Entry {
        let name: String
        let key: Mark?
        let value: Node
    }

    let entries: [Entry]
    let mark: Mark?

    subscript(name: String) -> Node? { entries.first { $0.name == name }?.value }

    func mark(of name: String) -> Mark? { entries.first { $0.name == name }?.key ?? mark }
}
