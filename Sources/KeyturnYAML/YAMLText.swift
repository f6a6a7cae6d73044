package import Foundation
package import Yams

/// What is wrong with a text that should be YAML. No message repeats a value.
package struct YAMLProblem: Error, Equatable {
    package let line: Int
    package let column: Int
    package let message: String
}

/// A text of YAML documents, with everything refused that nobody here has a use for and a machine could choke on.
package enum YAMLText {
    /// The largest text, in bytes.
    package static let largest = 1 << 20
    /// How deep collections may lie in each other.
    static let deepest = 32

    /// Reads all documents; empty ones are left out.
    package static func documents(_ data: Data) throws(YAMLProblem) -> [Node] {
        func refused(_ line: Int, _ column: Int, _ message: String) -> YAMLProblem {
            YAMLProblem(line: max(1, line), column: max(1, column), message: message)
        }
        guard data.count <= largest else { throw refused(1, 1, "the file is larger than \(largest) bytes") }
        guard let text = String(data: data, encoding: .utf8) else { throw refused(1, 1, "the file is not UTF-8") }
        if let place = excessiveNesting(text) {
            throw refused(place.line, place.column, "collections lie deeper than \(deepest) levels in each other")
        }
        do {
            var nodes: [Node] = []
            let parser = try Parser(yaml: text, encoding: .utf8)
            while let node = try parser.nextRoot() {
                if let problem = problem(in: node, depth: 0) {
                    throw refused(problem.line, problem.column, problem.message)
                }
                if node.scalar?.string.isEmpty != true { nodes.append(node) }
            }
            return nodes
        } catch let problem as YAMLProblem {
            throw problem
        } catch let error as YamlError {
            let (line, column, message) = words(error)
            throw refused(line, column, message)
        } catch { throw refused(1, 1, "the file can't be read as YAML") }
    }

    /// Anchors come before their aliases, so that a walk that stops at the first one never walks a bomb.
    private static func problem(in node: Node, depth: Int) -> (line: Int, column: Int, message: String)? {
        let line = node.mark?.line ?? 1
        let column = node.mark?.column ?? 1
        guard depth <= deepest else {
            return (line, column, "collections lie deeper than \(deepest) levels in each other")
        }
        switch node {
        case .alias: return (line, column, "aliases are not allowed; write the value out")
        case .scalar(let scalar):
            return scalar.anchor == nil ? nil : (line, column, "anchors are not allowed; write the value out")
        case .sequence(let sequence):
            guard sequence.anchor == nil else { return (line, column, "anchors are not allowed; write the value out") }
            for item in sequence { if let found = problem(in: item, depth: depth + 1) { return found } }
        case .mapping(let mapping):
            guard mapping.anchor == nil else { return (line, column, "anchors are not allowed; write the value out") }
            for (key, value) in mapping {
                if let found = problem(in: key, depth: depth + 1) ?? problem(in: value, depth: depth + 1) {
                    return found
                }
            }
        }
        return nil
    }

    /// The parser descends with the text, so that very deep nesting must be seen before it is called.
    private static func excessiveNesting(_ text: String) -> (line: Int, column: Int)? {
        var depth = 0
        var indents: [Int] = []
        for (number, line) in text.utf8.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated() {
            // Each line that stands further in than the one before may open a collection.
            let indent = line.prefix { $0 == 0x20 }.count
            if indent < line.count {
                while let last = indents.last, last >= indent { indents.removeLast() }
                indents.append(indent)
                if indents.count > 2 * deepest { return (number + 1, indent + 1) }
            }
            var indicators = 0
            var isLeading = true
            for (offset, byte) in line.enumerated() {
                switch byte {
                case UInt8(ascii: "["), UInt8(ascii: "{"): depth += 1
                case UInt8(ascii: "]"), UInt8(ascii: "}"): depth = max(0, depth - 1)
                case UInt8(ascii: "-"), UInt8(ascii: "?"): if isLeading { indicators += 1 }
                case UInt8(ascii: " "): break
                default: isLeading = false
                }
                // Brackets inside of texts count too; twice as many as may nest are no policy.
                if depth > 2 * deepest || (indicators > 2 * deepest && offset > 4 * deepest) {
                    return (number + 1, offset + 1)
                }
            }
        }
        return nil
    }

    private static func words(_ error: YamlError) -> (Int, Int, String) {
        switch error {
        case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
            .composer(_, let problem, let mark, _):
            return (mark.line, mark.column, "not YAML: \(problem)")
        case .duplicatedKeysInMapping(let keys, let context):
            let names = keys.sorted().joined(separator: ", ")
            return (context.mark.line, context.mark.column, "written more than once: \(names)")
        case .reader: return (1, 1, "not YAML: the file holds a character that is not allowed")
        default: return (1, 1, "not YAML")
        }
    }
}
