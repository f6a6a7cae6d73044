import Foundation
package import KeyturnCore

/// All policies of an installation, and all that is to be said about them.
package struct PolicySet: Sendable {
    /// By secret.
    package let policies: [Policy]
    package let diagnostics: [Diagnostic]
}

/// Reads every policy below the schedules folder.
package enum PolicyLoader {
    package static func load(_ configuration: Configuration, catalog: SystemCatalog) -> PolicySet {
        var diagnostics: [Diagnostic] = []
        var found: [LocatedPolicy] = []
        var walk = PolicyFolder(shownFrom: configuration.folder)
        walk.visit(configuration.schedulesPath)
        diagnostics += walk.diagnostics
        for file in walk.files.sorted(by: { $0.shown < $1.shown }) {
            let data: Data
            do throws(UnreadableFile) { data = try SourceFile.read(file.path, upTo: YAMLFile.largest + 1) } catch {
                diagnostics.append(
                    Diagnostic(
                        file: file.shown, line: 1, column: 1, message: "the file can't be read: \(error.reason)"))
                continue
            }
            let (nodes, problems) = YAMLFile.documents(data, file: file.shown)
            diagnostics += problems
            let reader = DocumentReader(file: file.shown, folder: configuration.folder)
            let policies = PolicyReader(reader: reader, configuration: configuration, catalog: catalog)
            found += nodes.compactMap(policies.read)
            diagnostics += reader.diagnostics
        }
        let context = ValidationContext(policies: found, configuration: configuration, catalog: catalog)
        for rule in ValidationRules.all { diagnostics += rule(context) }
        return PolicySet(
            policies: found.map(\.policy).sorted { $0.secret < $1.secret }, diagnostics: diagnostics.inOrder())
    }
}

/// The policy files below a folder: `*.yaml` and `*.yml`. Hidden files, links to folders and editors' backups are left
/// out.
///
/// What can't be looked into is told: a policy that is missing silently would never rotate its secret again.
private struct PolicyFolder {
    struct File {
        let path: String
        let shown: String
    }

    private let root: String
    private(set) var files: [File] = []
    private(set) var diagnostics: [Diagnostic] = []

    init(shownFrom root: String) { self.root = root }

    mutating func visit(_ folder: String, depth: Int = 0) {
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder) else {
            let what = depth == 0 ? "the schedules folder" : "the folder"
            diagnostics.append(
                Diagnostic(
                    file: shown(folder), line: 1, column: 1,
                    message: "\(what) can't be read: \(SourceFile.reasonAgainstFolder(folder))"))
            return
        }
        for name in names where !name.hasPrefix(".") {
            let path = "\(folder)/\(name)"
            switch SourceFile.kind(path) {
            case .folder: visit(path, depth: depth + 1)
            case .linkToFolder: break
            case .other:
                guard name.hasSuffix(".yaml") || name.hasSuffix(".yml") else { continue }
                files.append(File(path: path, shown: shown(path)))
            }
        }
    }

    private func shown(_ path: String) -> String {
        path.hasPrefix(root + "/") ? String(path.dropFirst(root.count + 1)) : path
    }
}
