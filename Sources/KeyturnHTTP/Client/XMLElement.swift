package import KeyturnCore

/// The small part of XML that AWS query services answer in: elements and text, no attributes of interest, no document
/// type.
package struct XMLElement: Sendable {
    package let name: String
    package fileprivate(set) var children: [XMLElement] = []
    package fileprivate(set) var text = ""

    /// The first child of that name.
    package func first(_ name: String) -> XMLElement? { children.first { $0.name == name } }

    /// Walks down by names.
    package func at(_ path: String...) -> XMLElement? {
        path.reduce(Optional(self)) { element, name in element?.first(name) }
    }

    private static let maximumDepth = 32

    /// - Returns: the root; `nil` for anything that is not well formed.
    package static func parse(_ body: SecretValue) -> XMLElement? {
        guard let text = body.exposedText() else { return nil }
        var rest = Substring(text)
        var stack: [XMLElement] = [XMLElement(name: "")]
        while let open = rest.firstIndex(of: "<") {
            guard let characters = decoded(rest[..<open]) else { return nil }
            stack[stack.count - 1].text += characters
            rest = rest[open...]
            if rest.hasPrefix("<?") {
                guard let end = rest.firstRange(of: "?>") else { return nil }
                rest = rest[end.upperBound...]
                continue
            }
            guard !rest.hasPrefix("<!"), let close = rest.firstIndex(of: ">") else { return nil }
            let tag = rest[rest.index(after: open)..<close]
            rest = rest[rest.index(after: close)...]
            if tag.hasPrefix("/") {
                guard let done = stack.popLast(), done.name == tag.dropFirst(), !stack.isEmpty else { return nil }
                stack[stack.count - 1].children.append(done)
            } else {
                let name = String(tag.prefix { $0 != " " && $0 != "/" && $0 != "\n" })
                guard !name.isEmpty, stack.count < maximumDepth else { return nil }
                if tag.hasSuffix("/") {
                    stack[stack.count - 1].children.append(XMLElement(name: name))
                } else {
                    stack.append(XMLElement(name: name))
                }
            }
        }
        guard stack.count == 1, let root = stack.first, root.children.count == 1 else { return nil }
        return root.children.first
    }

    private static func decoded(_ text: Substring) -> String? {
        guard text.contains("&") else { return String(text) }
        var result = ""
        var rest = text
        while let ampersand = rest.firstIndex(of: "&") {
            result += rest[..<ampersand]
            guard let end = rest[ampersand...].firstIndex(of: ";") else { return nil }
            let name = rest[rest.index(after: ampersand)..<end]
            rest = rest[rest.index(after: end)...]
            switch name {
            case "lt": result += "<"
            case "gt": result += ">"
            case "amp": result += "&"
            case "quot": result += "\""
            case "apos": result += "'"
            default:
                guard name.hasPrefix("#") else { return nil }
                let number =
                    name.dropFirst().hasPrefix("x") ? UInt32(name.dropFirst(2), radix: 16) : UInt32(name.dropFirst())
                guard let scalar = number.flatMap(Unicode.Scalar.init) else { return nil }
                result.unicodeScalars.append(scalar)
            }
        }
        return result + rest
    }
}
