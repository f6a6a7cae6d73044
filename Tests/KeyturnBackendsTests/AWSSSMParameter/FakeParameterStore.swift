import Foundation
import KeyturnBackends
import KeyturnCore
import Synchronization
import TestSupport
import Testing

/// Parameter Store as its reference describes it, with a hand of others in it.
final class FakeParameterStore: Sendable {
    struct Parameter {
        var type = "SecureString"
        var values: [String] = []
        var tags: [String: String] = [:]
        var keyID: String?
        var tier: String?
        var description: String?
    }

    struct State {
        var parameters: [String: Parameter] = [:]
        /// Answers instead of the service, once.
        var next: (@Sendable (TestServer.Received, TestServer.Channel) -> TestServer.Afterwards?)?
        /// Is done before a write is carried out, once.
        var beforeWrite: (@Sendable (inout State) -> Void)?

        mutating func write(_ name: String, _ value: String) {
            parameters[name, default: Parameter()].values.append(value)
        }
    }

    let state = Mutex(State())
    private let server = Mutex<TestServer?>(nil)

    init() throws {
        let server = try TestServer { [weak self] request, channel in self?.serve(request, channel) ?? .close }
        self.server.withLock { $0 = server }
    }

    var requests: [TestServer.Received] { server.withLock { $0?.received ?? [] } }
    var operations: [String] {
        requests.compactMap { $0.all("X-Amz-Target").first?.replacing("AmazonSSM.", with: "") }
    }

    func parameter(_ name: String) -> Parameter? { state.withLock { $0.parameters[name] } }

    func backend(_ folder: ScratchFolder, _ more: Parameters = [:]) throws -> any Backend {
        let type = try #require(BackendRegistry.all.first { $0.description.type == "aws-ssm-parameter" })
        let address = server.withLock { $0?.url() ?? "" }
        return try type.make(
            "ssm", ["region": .string("eu-west-1"), "endpoint": .string(address)].merging(more) { _, new in new },
            try .forTests(
                folder, environment: ["AWS_ACCESS_KEY_ID": "AKIAEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"]))
    }

    private func serve(_ request: TestServer.Received, _ channel: TestServer.Channel) -> TestServer.Afterwards {
        let next = state.withLock { state in
            defer { state.next = nil }
            return state.next
        }
        if let next, let afterwards = next(request, channel) { return afterwards }
        let (status, body) = answer(request)
        channel.answer(status, body)
        return .keep
    }

    func answer(_ request: TestServer.Received) -> (Int, String) {
        let operation = request.all("X-Amz-Target").first?.replacing("AmazonSSM.", with: "") ?? ""
        let object = (try? JSONSerialization.jsonObject(with: Data(request.body))) as? [String: Any] ?? [:]
        let name = object["Name"] as? String ?? object["ResourceId"] as? String ?? ""
        return state.withLock { state in
            switch operation {
            case "GetParameter": get(name, decrypted: object["WithDecryption"] as? Bool == true, &state)
            case "PutParameter": put(name, object, &state)
            case "AddTagsToResource":
                state.parameters[name] == nil ? refusal("InvalidResourceId") : tag(name, object, &state)
            case "ListTagsForResource": list(name, &state)
            default: refusal("UnknownOperationException")
            }
        }
    }

    private func get(_ name: String, decrypted: Bool, _ state: inout State) -> (Int, String) {
        let parts = name.split(separator: ":")
        guard let parameter = state.parameters[String(parts[0])], let last = parameter.values.indices.last else {
            return refusal("ParameterNotFound")
        }
        let version = parts.count > 1 ? Int(parts[1]) ?? 0 : last + 1
        guard parameter.values.indices.contains(version - 1) else { return refusal("ParameterVersionNotFound") }
        let value = decrypted ? parameter.values[version - 1] : "a cipher"
        return (
            200,
            json([
                "Parameter": ["Name": name, "Type": parameter.type, "Value": value, "Version": version] as [String: Any]
            ])
        )
    }

    private func put(_ name: String, _ object: [String: Any], _ state: inout State) -> (Int, String) {
        let before = state.beforeWrite
        state.beforeWrite = nil
        before?(&state)
        let overwrites = object["Overwrite"] as? Bool == true
        if overwrites, object["Tags"] != nil { return refusal("ValidationException") }
        if state.parameters[name] != nil, !overwrites { return refusal("ParameterAlreadyExists") }
        state.write(name, object["Value"] as? String ?? "")
        state.parameters[name]?.keyID = object["KeyId"] as? String
        state.parameters[name]?.tier = object["Tier"] as? String
        if let words = object["Description"] as? String { state.parameters[name]?.description = words }
        _ = tag(name, object, &state)
        return (200, json(["Version": state.parameters[name]?.values.count ?? 0, "Tier": "Standard"] as [String: Any]))
    }

    private func tag(_ name: String, _ object: [String: Any], _ state: inout State) -> (Int, String) {
        for tag in object["Tags"] as? [[String: String]] ?? [] {
            state.parameters[name]?.tags[tag["Key"] ?? ""] = tag["Value"]
        }
        return (200, "{}")
    }

    private func list(_ name: String, _ state: inout State) -> (Int, String) {
        guard let parameter = state.parameters[name] else { return refusal("InvalidResourceId") }
        return (200, json(["TagList": parameter.tags.map { ["Key": $0.key, "Value": $0.value] }]))
    }

    private func refusal(_ word: String) -> (Int, String) {
        (400, #"{"__type":"com.amazonaws.ssm#\#(word)","message":"CANARY"}"#)
    }

    private func json(_ object: Any) -> String {
        (try? JSONSerialization.data(withJSONObject: object)).map { String(decoding: $0, as: UTF8.self) } ?? ""
    }
}
