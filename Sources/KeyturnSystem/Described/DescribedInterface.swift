package import KeyturnCore
package import KeyturnHTTP

/// An interface over HTTP that the configuration describes: where it is, who we are there, and what its refusals mean.
package struct DescribedInterface: Sendable {
    private let url: String
    private let errors: [Int: SystemError.Code]
    private let credentials: [String: SecretReference]
    private let tls: TLSSettings
    private let timeout: Int
    private let services: SystemServices

    package init(_ parameters: Parameters, _ services: SystemServices) {
        url = RequestAddress.base(parameters.string("url") ?? "")
        errors = Self.errors(parameters)
        credentials = Self.credentials(parameters)
        tls = TLSSettings(parameters)
        timeout = parameters.seconds("timeout") ?? 30
        self.services = services
    }

    /// What every interface takes in the configuration.
    package static let fields = [
        ParameterField("url", .url, required: true, "The address before all paths."),
        ParameterField("headers", .stringMap, "Headers of every request but `check`."),
        ParameterField(
            "credentials",
            .list(
                of: .object(
                    ParameterSchema([
                        ParameterField("name", .string(), required: true, "Its name in `{{name}}`."),
                        ParameterField("secret", .secret, required: true, "Where it is to be had."),
                    ]))), "Keyturn's own secrets, for headers and bodies."),
        ParameterField("errors", .stringMap, "Words for statuses that mean something else than usual."),
        ParameterField("timeout", .duration(1...300), default: .integer(30), "How long one request may take."),
        TLSSettings.caFile,
        ParameterField("certificateFile", .path, "PEM file of a client certificate."),
        ParameterField("keyFile", .path, "PEM file of its key."),
        TLSSettings.allowInsecure,
    ]

    /// Success alone.
    package func send(
        _ template: RequestTemplate, _ words: [String: RequestWord], mayRepeat: Bool
    ) async throws(SystemError) -> HTTPResponse {
        let response = try await exchange(template, words, mayRepeat: mayRepeat)
        guard response.isSuccess else { throw refusal(response) }
        return response
    }

    /// Whatever is answered.
    package func exchange(
        _ template: RequestTemplate, _ words: [String: RequestWord], mayRepeat: Bool
    ) async throws(SystemError) -> HTTPResponse {
        var words = words
        for name in template.words {
            if let reference = credentials[name] { words[name] = .text(try await services.secrets.resolve(reference)) }
        }
        var request = try template.request(at: url, words, tls)
        request.timeouts.total = .seconds(timeout)
        request.mayRepeat = mayRepeat
        do throws(HTTPError) { return try await services.http.execute(request) } catch {
            throw SystemError(error, from: "the interface")
        }
    }

    package func refusal(_ response: HTTPResponse) -> SystemError {
        let usual = SystemError(
            status: response.status, of: response, from: "the interface", now: services.time.now())
        guard let code = errors[response.status] else { return usual }
        return SystemError(
            code, "the interface: the request was refused (HTTP \(response.status))",
            mayHaveTakenEffect: usual.mayHaveTakenEffect, retryAfter: usual.retryAfter)
    }

    private static func errors(_ parameters: Parameters) -> [Int: SystemError.Code] {
        let words = parameters.map("errors") ?? [:]
        var errors: [Int: SystemError.Code] = [:]
        for status in words.keys {
            guard let number = Int(status), let word = words.string(status) else { continue }
            errors[number] = SystemError.Code(rawValue: word)
        }
        return errors
    }

    package static func credentials(_ parameters: Parameters) -> [String: SecretReference] {
        var found: [String: SecretReference] = [:]
        for case .map(let entry) in parameters.list("credentials") ?? [] {
            if let name = entry.string("name"), let reference = entry.secret("secret") { found[name] = reference }
        }
        return found
    }

    /// What is wrong with the requests of an interface, whatever they are for.
    ///
    /// - Parameters:
    ///   - operations: the names of its requests; `check` gets no common headers.
    ///   - reserved: the words that it fills in by itself.
    package static func problems(
        _ parameters: Parameters, operations: [String], reserved: Set<String>
    ) -> (problems: [ParameterProblem], templates: [String: RequestTemplate]) {
        var problems: [ParameterProblem] = []
        func complain(_ path: [String], _ message: String) {
            problems.append(ParameterProblem(path: path, message: message))
        }
        let credentials = credentials(parameters)
        for name in credentials.keys.sorted() where reserved.contains(name) {
            complain(["credentials"], "'\(name)' is a word of Keyturn's own")
        }
        var templates: [String: RequestTemplate] = [:]
        for operation in operations {
            guard let part = parameters.map(operation) else { continue }
            if part["json"] != nil, part["form"] != nil { complain([operation], "a body is `json` or `form`") }
            if part.string("path")?.hasPrefix("/") != true { complain([operation, "path"], "a path begins with '/'") }
            if part.string("path")?.contains("?") == true {
                complain([operation, "path"], "what stands behind a question mark goes into `query`")
            }
            let common = operation == "check" ? [:] : parameters.map("headers") ?? [:]
            do throws(InvalidTemplate) { templates[operation] = try RequestTemplate(part, headers: common) } catch {
                complain([operation], error.reason)
            }
        }
        for (operation, template) in templates.sorted(by: { $0.key < $1.key }) {
            for word in template.shownWords.intersection(["value"] + credentials.keys).sorted() {
                complain([operation], "servers write paths and queries down: '\(word)' is a secret")
            }
        }
        for (status, word) in (parameters.map("errors") ?? [:]).sorted(by: { $0.key < $1.key }) {
            guard let number = Int(status), (300...599).contains(number), case .string(let text) = word,
                SystemError.Code(rawValue: text) != nil
            else {
                complain(["errors", status], "statuses from 300 to 599 have words such as limitExceeded")
                continue
            }
        }
        return (problems, templates)
    }

    /// What is wrong with pointers: by the member that holds them, and their names there.
    package static func problems(_ parameters: Parameters, pointers: [(member: String, names: [String])])
        -> [ParameterProblem]
    {
        pointers.flatMap { member, names -> [ParameterProblem] in
            let part = parameters.map(member) ?? [:]
            return names.compactMap { name -> ParameterProblem? in
                guard let text = part.string(name), JSONPointer(text) == nil else { return nil }
                return ParameterProblem(
                    path: [member, name], message: "a JSON pointer begins with '/', such as /data/id")
            }
        }
    }
}
