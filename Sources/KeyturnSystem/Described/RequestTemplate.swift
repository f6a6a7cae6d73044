import Foundation
package import KeyturnCore
package import KeyturnHTTP

/// What a placeholder of a request stands for.
package enum RequestWord: Sendable {
    case text(SecretValue)
    /// As the policy says it: in JSON it may be more than a text.
    case plain(ParameterValue)
    /// In a path several segments, each of which is encoded by itself.
    case segments(String)

    package init(_ text: String) { self = .plain(.string(text)) }
}

/// A request that the user describes, with `{{name}}` in its path, query, headers and body.
///
/// No value changes what stands around it: in a path or a query it is percent-encoded, in a form too, and a body of JSON is
/// put together as values, never as text.
package struct RequestTemplate: Sendable {
    private enum Body: Sendable {
        case json(ParameterValue)
        case form([(name: String, value: ValueTemplate)])
    }

    package let method: String
    private let address: String?
    private let path: ValueTemplate
    private let query: [(name: String, value: ValueTemplate)]
    private let headers: [(name: String, value: ValueTemplate)]
    private let body: Body?
    /// Every name that it uses.
    package let words: Set<String>
    /// Those in its path and query, which servers write down.
    package let shownWords: Set<String>

    /// - Parameters: those of ``schema(method:)``, and headers that come with every request.
    package init(_ parameters: Parameters, headers common: Parameters = [:]) throws(InvalidTemplate) {
        method = parameters.string("method") ?? "GET"
        address = parameters.string("address").map(RequestAddress.base)
        path = try Self.template(parameters.string("path") ?? "/")
        query = try Self.templates(parameters.map("query") ?? [:])
        headers = try Self.templates(common.merging(parameters.map("headers") ?? [:]) { _, own in own })
        var words = path.fields
        for item in query { words.formUnion(item.value.fields) }
        shownWords = words
        for item in headers { words.formUnion(item.value.fields) }
        if let form = parameters.map("form") {
            let fields = try Self.templates(form)
            for field in fields { words.formUnion(field.value.fields) }
            body = .form(fields)
        } else if let json = parameters["json"] {
            try words.formUnion(Self.words(of: json))
            body = .json(json)
        } else {
            body = nil
        }
        self.words = words
    }

    package static func schema(method: String) -> ParameterSchema {
        ParameterSchema([
            ParameterField(
                "method", .choice(["GET", "POST", "PUT", "PATCH", "DELETE"]), default: .string(method), "The method."),
            ParameterField("address", .url, "Another server than the issuer's."),
            ParameterField("path", .string(), required: true, "The path, with `{{name}}`."),
            ParameterField("query", .stringMap, "What stands behind the question mark."),
            ParameterField("headers", .stringMap, "Headers."),
            ParameterField("json", .any, "The body as JSON."),
            ParameterField("form", .stringMap, "The body as a form."),
        ])
    }

    /// The request. A member of JSON, a header or an item of a query whose only word has nothing to say is left out.
    package func request(
        at base: String, _ words: [String: RequestWord], _ tls: TLSSettings
    ) throws(SystemError) -> HTTPRequest {
        var url = (address ?? base)
        for part in path.parts {
            switch part {
            case .literal(let text): url += text
            case .placeholder(let name, let filter):
                let text = try Self.exposed(try Self.fill(name, filter, words), name)
                var segments = [text[...]]
                if case .segments? = words[name] {
                    segments = text.split(separator: "/", omittingEmptySubsequences: false)
                }
                // A segment of dots would lead somewhere else.
                guard !segments.contains(where: { $0 == "." || $0 == ".." || $0.isEmpty }) else {
                    throw SystemError(.badRequest, "'\(name)' can't stand in a path")
                }
                url += segments.map { FormBody.escape(String($0)) }.joined(separator: "/")
            }
        }
        var items: [String] = []
        for item in query {
            guard let value = try Self.render(item.value, words) else { continue }
            items.append("\(FormBody.escape(item.name))=\(FormBody.escape(try Self.exposed(value, item.name)))")
        }
        if !items.isEmpty { url += "?" + items.joined(separator: "&") }
        var request = HTTPRequest(method, url, tls: tls)
        request.set("Accept", "application/json")
        for header in headers {
            guard let value = try Self.render(header.value, words) else { continue }
            request.headers.removeAll { $0.name.lowercased() == header.name.lowercased() }
            request.set(header.name, value)
        }
        switch body {
        case .json(let value):
            request.set("Content-Type", "application/json")
            request.body = SecretValue(try Self.json(value, words) ?? Array("null".utf8))
        case .form(let fields):
            request.set("Content-Type", FormBody.contentType)
            var filled: [(name: String, value: String)] = []
            for field in fields {
                guard let value = try Self.render(field.value, words) else { continue }
                filled.append((field.name, try Self.exposed(value, field.name)))
            }
            request.body = FormBody.encode(filled)
        case nil: break
        }
        return request
    }

    // MARK: - Filling in

    /// - Returns: `nil` when it is one word with nothing to say.
    private static func render(
        _ template: ValueTemplate, _ words: [String: RequestWord]
    ) throws(SystemError) -> SecretValue? {
        if template.parts.count == 1, case .placeholder(let name, _)? = template.parts.first, words[name] == nil {
            return nil
        }
        var bytes: [UInt8] = []
        defer { for index in bytes.indices { bytes[index] = 0 } }
        for part in template.parts {
            switch part {
            case .literal(let text): bytes += Array(text.utf8)
            case .placeholder(let name, let filter): bytes += try fill(name, filter, words).exposedBytes()
            }
        }
        return SecretValue(bytes)
    }

    private static func fill(
        _ name: String, _ filter: ValueTemplate.Filter, _ words: [String: RequestWord]
    ) throws(SystemError) -> SecretValue {
        let value: SecretValue
        switch words[name] {
        case .text(let text): value = text
        case .segments(let text): value = SecretValue(utf8: text)
        case .plain(.string(let text)): value = SecretValue(utf8: text)
        case .plain(.integer(let number)): value = SecretValue(utf8: String(number))
        case .plain(.decimal(let number)): value = SecretValue(utf8: String(number))
        case .plain(.boolean(let flag)): value = SecretValue(utf8: String(flag))
        case .plain: throw SystemError(.misconfigured, "'\(name)' is no text, and can stand in JSON only")
        case nil: throw SystemError(.misconfigured, "the request asks for '\(name)', and there is none")
        }
        guard filter == .base64 else { return value }
        return SecretValue(utf8: value.withUnsafeBytes { Data($0).base64EncodedString() })
    }

    private static func exposed(_ value: SecretValue, _ name: String) throws(SystemError) -> String {
        guard let text = value.exposedText() else { throw SystemError(.badRequest, "'\(name)' is not UTF-8") }
        return text
    }

    private static func json(
        _ value: ParameterValue, _ words: [String: RequestWord]
    ) throws(SystemError) -> [UInt8]? {
        switch value {
        case .string(let text):
            let template: ValueTemplate
            do throws(InvalidTemplate) { template = try self.template(text) } catch {
                throw SystemError(.misconfigured, "a request: \(error.reason)")
            }
            if template.parts.count == 1, case .placeholder(let name, let filter)? = template.parts.first,
                filter != .base64, case .plain(let plain)? = words[name]
            {
                return literal(plain)
            }
            return try render(template, words)?.jsonString
        case .list(let items):
            var parts: [[UInt8]] = []
            for item in items { if let part = try json(item, words) { parts.append(part) } }
            return Array("[".utf8) + Array(parts.joined(separator: Array(",".utf8))) + Array("]".utf8)
        case .map(let members):
            var parts: [[UInt8]] = []
            for (name, member) in members.sorted(by: { $0.key < $1.key }) {
                guard let part = try json(member, words) else { continue }
                parts.append(SecretValue(utf8: name).jsonString + Array(":".utf8) + part)
            }
            return Array("{".utf8) + Array(parts.joined(separator: Array(",".utf8))) + Array("}".utf8)
        default: return literal(value)
        }
    }

    /// As it is, without words in it.
    private static func literal(_ value: ParameterValue) -> [UInt8] {
        switch value {
        case .string(let text): return SecretValue(utf8: text).jsonString
        case .integer(let number): return Array(String(number).utf8)
        case .decimal(let number): return Array((number.isFinite ? String(number) : "null").utf8)
        case .boolean(let flag): return Array(String(flag).utf8)
        case .list(let items):
            return Array("[".utf8) + Array(items.map(literal).joined(separator: Array(",".utf8))) + Array("]".utf8)
        case .map(let members):
            let parts = members.sorted { $0.key < $1.key }.map { name, member in
                SecretValue(utf8: name).jsonString + Array(":".utf8) + literal(member)
            }
            return Array("{".utf8) + Array(parts.joined(separator: Array(",".utf8))) + Array("}".utf8)
        case .secret, .null: return Array("null".utf8)
        }
    }

    // MARK: - Reading

    private static func template(_ text: String) throws(InvalidTemplate) -> ValueTemplate {
        let template = try ValueTemplate(text)
        for case .placeholder(let name, let filter) in template.parts where filter == .json || filter == .shell {
            throw InvalidTemplate(reason: "{{\(name)}} takes no filter in a request but base64")
        }
        return template
    }

    private static func templates(
        _ members: Parameters
    ) throws(InvalidTemplate) -> [(name: String, value: ValueTemplate)] {
        var found: [(name: String, value: ValueTemplate)] = []
        for name in members.keys.sorted() {
            if let text = members.string(name) { found.append((name, try template(text))) }
        }
        return found
    }

    private static func words(of json: ParameterValue) throws(InvalidTemplate) -> Set<String> {
        var found: Set<String> = []
        switch json {
        case .string(let text): found = try template(text).fields
        case .list(let items): for item in items { found.formUnion(try words(of: item)) }
        case .map(let members): for member in members.values { found.formUnion(try words(of: member)) }
        default: break
        }
        return found
    }
}
