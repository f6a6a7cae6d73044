/// A place in a JSON document: RFC 6901.
package struct JSONPointer: Sendable, Equatable, CustomStringConvertible {
    private let tokens: [String]

    /// - Returns: `nil` for a text that is neither empty nor begins with a slash, or has a stray `~`.
    package init?(_ text: String) {
        guard !text.isEmpty else {
            tokens = []
            return
        }
        guard text.hasPrefix("/") else { return nil }
        var tokens: [String] = []
        for part in text.dropFirst().split(separator: "/", omittingEmptySubsequences: false) {
            var token = ""
            var rest = part[...]
            while let character = rest.popFirst() {
                guard character == "~" else {
                    token.append(character)
                    continue
                }
                switch rest.popFirst() {
                case "0": token.append("~")
                case "1": token.append("/")
                default: return nil
                }
            }
            tokens.append(token)
        }
        self.tokens = tokens
    }

    /// What stands there; `nil` when nothing does.
    package func find(in document: JSONValue) -> JSONValue? {
        var found = document
        for token in tokens {
            switch found {
            case .object(let members):
                guard let member = members[token] else { return nil }
                found = member
            case .array(let items):
                // Digits without zeros before them.
                guard let index = Int(token), index >= 0, String(index) == token, index < items.count else {
                    return nil
                }
                found = items[index]
            default: return nil
            }
        }
        return found
    }

    package var description: String {
        tokens.map { "/" + $0.replacing("~", with: "~0").replacing("/", with: "~1") }.joined()
    }
}
