import Foundation
import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

/// Where in the answer to `create` the key stands.
struct AnswerPlaces: Sendable {
    private let value: JSONPointer?
    private let keyID: JSONPointer?
    private let expiresAt: JSONPointer?
    private let fields: [String: JSONPointer]

    init(_ parameters: Parameters) {
        value = parameters.string("value").flatMap(JSONPointer.init)
        keyID = parameters.string("keyId").flatMap(JSONPointer.init)
        expiresAt = parameters.string("expiresAt").flatMap(JSONPointer.init)
        var fields: [String: JSONPointer] = [:]
        let named = parameters.map("fields") ?? [:]
        for name in named.keys { fields[name] = named.string(name).flatMap(JSONPointer.init) }
        self.fields = fields
    }

    static let schema = ParameterSchema([
        ParameterField("value", .string(), required: true, "JSON pointer to the key."),
        ParameterField("keyId", .string(), "JSON pointer to the key's id."),
        ParameterField("expiresAt", .string(), "JSON pointer to its end: RFC 3339, or seconds since 1970."),
        ParameterField("fields", .stringMap, "JSON pointers to further fields, by name."),
    ])

    /// - Returns: `nil` when something is not there that should be.
    func key(in response: HTTPResponse, of request: IssueRequest) -> IssuedKey? {
        guard let document = response.decodeJSON(JSONValue.self) else { return nil }
        guard let text = value?.find(in: document)?.text, !text.isEmpty else { return nil }
        var id: String?
        if let keyID {
            id = keyID.find(in: document)?.text
            guard id?.isEmpty == false else { return nil }
        }
        var end = request.lifetime.map { request.intendedAt.addingTimeInterval(TimeInterval($0)) }
        if let expiresAt {
            switch expiresAt.find(in: document) {
            case .null?, nil: break
            case let found?:
                guard let date = Self.date(found) else { return nil }
                end = date
            }
        }
        var more: [String: SecretValue] = [:]
        for (name, place) in fields {
            guard let text = place.find(in: document)?.text else { return nil }
            more[name] = SecretValue(utf8: text)
        }
        return IssuedKey(
            material: KeyMaterial(value: SecretValue(utf8: text), fields: more), keyID: id,
            issuedAt: request.intendedAt, expiresAt: end)
    }

    static func date(_ value: JSONValue) -> Date? {
        switch value {
        case .string(let text): RFC3339.parse(text)
        // Until the year 9999; more are thousandths of seconds, most likely.
        case .integer(let seconds) where (0...253_402_300_799).contains(seconds):
            Date(timeIntervalSince1970: TimeInterval(seconds))
        default: nil
        }
    }
}

/// Where in an answer to `list` the keys stand.
struct ListPlaces: Sendable {
    private let items: JSONPointer?
    private let keyID: JSONPointer?
    private let lineage: JSONPointer?
    private let createdAt: JSONPointer?
    private let nextPage: JSONPointer?

    init(_ parameters: Parameters) {
        items = JSONPointer(parameters.string("items") ?? "")
        keyID = parameters.string("keyId").flatMap(JSONPointer.init)
        lineage = parameters.string("lineage").flatMap(JSONPointer.init)
        createdAt = parameters.string("createdAt").flatMap(JSONPointer.init)
        nextPage = parameters.string("nextPage").flatMap(JSONPointer.init)
    }

    static let fields = [
        ParameterField("items", .string(), "JSON pointer to the list; the whole answer when absent."),
        ParameterField("keyId", .string(), required: true, "JSON pointer to the id, in one of the list."),
        ParameterField(
            "lineage", .string(), required: true, "JSON pointer to the mark that `create` left, in one of the list."),
        ParameterField("createdAt", .string(), "JSON pointer to when it was made, in one of the list."),
        ParameterField("nextPage", .string(), "JSON pointer to what `{{page}}` is for the next page."),
    ]

    /// - Returns: `nil` when there is no list, or a key without an id in it.
    func keys(in document: JSONValue) -> [ListedKey]? {
        guard let listed = items?.find(in: document)?.items else { return nil }
        var found: [ListedKey] = []
        for item in listed {
            guard let id = keyID?.find(in: item)?.text, !id.isEmpty else { return nil }
            found.append(
                ListedKey(
                    keyID: id, createdAt: createdAt?.find(in: item).flatMap(AnswerPlaces.date),
                    lineage: (lineage?.find(in: item)?.text).flatMap(Lineage.init(mark:))))
        }
        return found
    }

    func next(in document: JSONValue) -> String? {
        guard let text = nextPage?.find(in: document)?.text, !text.isEmpty else { return nil }
        return text
    }
}
