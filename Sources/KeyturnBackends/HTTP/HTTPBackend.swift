import Foundation
package import KeyturnCore
import KeyturnHTTP
import KeyturnSystem

/// Any store that speaks JSON over HTTP, as its user describes it in the backend's configuration. The article
/// <doc:HTTPBackend> has the words.
///
/// It holds one value a path: what was written last.
package struct HTTPBackend: Backend {
    package let traits = Self.description.traits
    private let interface: DescribedInterface
    private let writing: RequestTemplate
    private let reading: RequestTemplate
    private let place: JSONPointer

    init(_ parameters: Parameters, _ services: SystemServices) throws(SystemError) {
        let common = parameters.map("headers") ?? [:]
        do throws(InvalidTemplate) {
            writing = try RequestTemplate(parameters.map("write") ?? [:], headers: common)
            reading = try RequestTemplate(parameters.map("read") ?? [:], headers: common)
        } catch { throw SystemError(.misconfigured, "a request: \(error.reason)") }
        guard let place = JSONPointer(parameters.map("read")?.string("value") ?? "") else {
            throw SystemError(.misconfigured, "`value` of `read` is no JSON pointer")
        }
        self.place = place
        interface = DescribedInterface(parameters, services)
    }

    package func stage(
        _ write: VersionWrite, at target: BackendTarget
    ) async throws(SystemError) -> StageResult { .deferred("what is written is what readers get") }

    package func promote(_ write: VersionWrite, at target: BackendTarget) async throws(SystemError) -> Receipt {
        let present = try await current(target)
        let finding = try PromoteGuard.judge(present.value, for: write, at: "the interface at \(target.path)")
        guard case .goOn = finding else { return [:] }
        var words = words(target)
        words["value"] = .text(write.value)
        words["secret"] = RequestWord(write.secret.text)
        words["version"] = .plain(.integer(write.version))
        words["idempotencyKey"] = RequestWord(write.idempotencyKey)
        if let end = write.expiresAt { words["expiresAt"] = RequestWord(end.formatted(.iso8601)) }
        if let tag = present.tag { words["etag"] = RequestWord(tag) }
        // Looked at and judged before: a repetition by the client alone is not.
        _ = try await interface.send(writing, words, mayRepeat: false)
        return [:]
    }

    package func read(
        _ selection: StoredSelection, at target: BackendTarget
    ) async throws(SystemError) -> StoredValue? {
        let found = try await current(target).value
        switch (selection, found) {
        case (_, nil): return nil
        case (.current, let value?): return StoredValue(value: value, version: nil, receipt: [:])
        // A version that is not current any more lies nowhere.
        case (.version(let reference), let value?):
            guard reference.value?.matches(value) == true else { return nil }
            return StoredValue(value: value, version: nil, receipt: [:])
        }
    }

    package func unstage(_ version: VersionReference, at target: BackendTarget) async throws(SystemError) {}

    /// The next write has taken its place.
    package func prune(_ version: VersionReference, at target: BackendTarget) async throws(SystemError) {}

    package func list(at target: BackendTarget) async throws(SystemError) -> [ListedVersion] {
        throw SystemError(.unsupported, "an interface is not asked for a list")
    }

    package func probe(_ target: BackendTarget) async throws(SystemError) { _ = try await current(target) }

    private func words(_ target: BackendTarget) -> [String: RequestWord] { ["path": .segments(target.path)] }

    private func current(_ target: BackendTarget) async throws(SystemError) -> (value: SecretValue?, tag: String?) {
        let response = try await interface.exchange(reading, words(target), mayRepeat: true)
        guard response.isSuccess else {
            let error = interface.refusal(response)
            guard error.code == .notFound else { throw error }
            return (nil, nil)
        }
        let tag = response.headers.first("etag")
        switch response.decodeJSON(JSONValue.self).map({ ($0, place.find(in: $0)) }) {
        case (_, nil)?, (_, .null?)?: return (nil, tag)
        case (_, .string(let text)?)?: return (SecretValue(utf8: text), tag)
        default:
            throw SystemError(
                .badAnswer, "the interface answered without the text that `read` names",
                advice: "check the pointer `value` there")
        }
    }
}

extension HTTPBackend {
    static let type = BackendType(description: description) { (_, parameters, services) throws(SystemError) in
        try HTTPBackend(parameters, services)
    }

    static let description = BackendDescription(
        type: "http", summary: "Any store that speaks JSON over HTTP, described in the configuration.",
        configuration: ParameterSchema(
            [
                ParameterField(
                    "write", .object(RequestTemplate.schema(method: "PUT")), required: true, "Stores a value."),
                ParameterField(
                    "read",
                    .object(
                        ParameterSchema(
                            RequestTemplate.schema(method: "GET").fields + [
                                ParameterField("value", .string(), required: true, "JSON pointer to the value.")
                            ])), required: true, "Reads the value."),
            ] + DescribedInterface.fields, check: { parameters, _ in problems(parameters) }),
        target: ParameterSchema(),
        traits: BackendTraits(staging: .onPromote, readsBack: true, lists: false, destroys: false)
    ) { path in
        guard path.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7F }) else {
            return "a path has no control characters"
        }
        let segments = path.split(separator: "/", omittingEmptySubsequences: false)
        return segments.contains { $0.isEmpty || $0 == "." || $0 == ".." }
            ? "a path has no empty part, and none of dots" : nil
    }

    private static func problems(_ parameters: Parameters) -> [ParameterProblem] {
        let own: Set = ["path", "value", "secret", "version", "idempotencyKey", "expiresAt", "etag"]
        var (problems, templates) = DescribedInterface.problems(
            parameters, operations: ["write", "read"], reserved: own)
        let known = own.union(DescribedInterface.credentials(parameters).keys)
        for (operation, template) in templates.sorted(by: { $0.key < $1.key }) {
            let words = operation == "read" ? known.intersection(["path"]).union(known.subtracting(own)) : known
            for word in template.words.subtracting(words).sorted() {
                problems.append(ParameterProblem(path: [operation], message: "nothing is called '\(word)' there"))
            }
            if !template.words.contains("path") {
                problems.append(
                    ParameterProblem(path: [operation], message: "{{path}} is missing: all secrets would be one"))
            }
        }
        if templates["write"]?.words.contains("value") == false {
            problems.append(ParameterProblem(path: ["write"], message: "{{value}} is missing: nothing would be stored"))
        }
        return problems + DescribedInterface.problems(parameters, pointers: [("read", ["value"])])
    }
}
