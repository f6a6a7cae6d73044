import Foundation
import KeyturnAlerts
import KeyturnBackends
import KeyturnCore
import KeyturnIssuers
import KeyturnPolicy
import Testing

/// The policies below `Tests/Fixtures/policies`: a folder a case, each judged against the `keyturn.yaml` beside them.
enum PolicyFixtures {
    static let catalog = SystemCatalog(
        issuers: IssuerRegistry.descriptions, backends: BackendRegistry.descriptions,
        alerts: AlertRegistry.descriptions, checks: CheckRegistry.descriptions)

    static let root = URL(filePath: #filePath).deletingLastPathComponent()
        .appending(path: "../Fixtures/policies").standardizedFileURL.path(percentEncoded: false)

    /// The names of the cases in `good` or `bad`, sorted.
    static func cases(_ kind: String) -> [String] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: "\(root)/\(kind)")) ?? []
        return names.filter { !$0.hasPrefix(".") }.sorted()
    }

    static func load(_ folder: String) throws -> PolicySet {
        PolicyLoader.load(try configuration(schedules: folder), catalog: catalog)
    }

    static func configuration(schedules: String) throws -> Configuration {
        let (configuration, diagnostics) = ConfigurationLoader.load(
            file: "\(root)/keyturn.yaml", environment: ["KEYTURN_SCHEDULES": schedules], catalog: catalog)
        #expect(diagnostics.isEmpty)
        return try #require(configuration)
    }
}

/// Files in a folder that goes away with the test.
struct TemporaryFolder: ~Copyable {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.appending(path: "keyturn-policy-\(UUID().uuidString)")
            .path(percentEncoded: false)
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    @discardableResult
    func write(_ text: String, to name: String) throws -> String {
        let file = "\(path)/\(name)"
        try FileManager.default.createDirectory(
            at: URL(filePath: file).deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(text.utf8).write(to: URL(filePath: file))
        return file
    }
}
