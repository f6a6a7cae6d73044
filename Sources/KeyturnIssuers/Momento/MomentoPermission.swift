import KeyturnCore

/// One statement of what a key of the first generation may do: the permission model of
/// https://github.com/momentohq/client-protos, `proto/permissionmessages.proto`.
struct MomentoPermission: Hashable {
    /// All of a kind, or those of one name, or of a prefix of it.
    enum Selector: Hashable {
        case all
        case named(String)
        case prefixed(String)
    }

    enum Resource: Hashable {
        case items(Selector)
        case topics(Selector)
        case functions(Selector)
    }

    enum Role: String, CaseIterable {
        case readWrite = "readwrite"
        case readOnly = "readonly"
        case writeOnly = "writeonly"
        case publishSubscribe = "publishsubscribe"
        case subscribeOnly = "subscribeonly"
        case publishOnly = "publishonly"
        case invoke
    }

    /// `nil` for all caches.
    let cache: String?
    let resource: Resource
    let role: Role

    /// What Momento takes in one key, and from where on a person should be told that it may refuse.
    static let mostStatements = 20
    static let manyStatements = 10

    /// Reads one entry of a policy's `permissions`, which the schema has accepted.
    ///
    /// - Throws: ``Mistake``, for what fields alone can't show.
    init(_ parameters: Parameters) throws(Mistake) {
        let name = parameters.string("cache") ?? ""
        cache = name == "*" ? nil : name
        let role = Role(rawValue: parameters.string("role") ?? "") ?? .readOnly
        self.role = role
        let given = ["items", "topic", "function"].filter { parameters[$0] != nil }
        guard given.count <= 1 else {
            throw Mistake(
                field: given[1], reason: "a statement is about items, a topic or a function, and not two of them")
        }
        let allowed: [Role]
        switch given.first {
        case "topic"?:
            resource = .topics(try Self.selector("topic", parameters))
            allowed = [.publishSubscribe, .subscribeOnly, .publishOnly]
        case "function"?:
            resource = .functions(try Self.selector("function", parameters))
            allowed = [.invoke]
        default:
            resource = .items(try Self.selector("items", parameters))
            allowed = [.readWrite, .readOnly, .writeOnly]
        }
        guard allowed.contains(role) else {
            throw Mistake(
                field: "role",
                reason: "the role for \(what) is one of \(allowed.map(\.rawValue).joined(separator: ", "))")
        }
    }

    struct Mistake: Error {
        let field: String
        let reason: String
    }

    private var what: String {
        switch resource {
        case .items: "a cache's items"
        case .topics: "topics"
        case .functions: "functions"
        }
    }

    private static func selector(_ field: String, _ parameters: Parameters) throws(Mistake) -> Selector {
        if let name = parameters.string(field) { return name == "*" ? .all : .named(name) }
        guard let form = parameters.map(field) else { return .all }
        switch (form.string(Self.nameField(field)), form.string("prefix")) {
        case (let name?, nil): return .named(name)
        case (nil, let prefix?): return .prefixed(prefix)
        default:
            throw Mistake(field: field, reason: "'\(field)' has either '\(nameField(field))' or 'prefix'")
        }
    }

    private static func nameField(_ field: String) -> String { field == "items" ? "key" : "name" }

    /// What it is about, whatever the role.
    struct Subject: Hashable {
        let cache: String?
        let resource: Resource
    }

    var subject: Subject { Subject(cache: cache, resource: resource) }

    /// Whether it lets a key read an item.
    func allowsReading(_ item: MomentoCacheProbe.Subject) -> Bool {
        guard role == .readWrite || role == .readOnly, cache == nil || cache == item.cache else { return false }
        return switch resource {
        case .items(.all): true
        case .items(.named(let key)): key == item.item
        case .items(.prefixed(let prefix)): item.item.hasPrefix(prefix)
        case .topics, .functions: false
        }
    }

    /// An item that it lets a key read; `nil` when there is none, or the cache has no name.
    var readableItem: MomentoCacheProbe.Subject? {
        guard let cache, role == .readWrite || role == .readOnly else { return nil }
        let usual = MomentoCacheProbe.usualItem
        return switch resource {
        case .items(.all): MomentoCacheProbe.Subject(cache: cache, item: usual)
        case .items(.named(let key)): MomentoCacheProbe.Subject(cache: cache, item: key)
        case .items(.prefixed(let prefix)): MomentoCacheProbe.Subject(cache: cache, item: prefix + usual)
        case .topics, .functions: nil
        }
    }
}
