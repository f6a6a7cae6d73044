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
        let (files, problem) = files(below: configuration.schedulesPath, shownFrom: configuration.folder)
        if let problem { diagnostics.append(problem) }
        for file in files {
            guard let data = FileManager.default.contents(atPath: file.path) else {
                diagnostics.append(Diagnostic(file: file.shown, line: 1, column: 1, message: "the file can't be read"))
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

    private struct File {
        let path: String
        let shown: String
    }

    /// `*.yaml` and `*.yml`, sorted; hidden files, links to folders and editors' backups are left out.
    private static func files(below folder: String, shownFrom root: String) -> ([File], Diagnostic?) {
        let shown = { (path: String) in path.hasPrefix(root + "/") ? String(path.dropFirst(root.count + 1)) : path }
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: folder, isDirectory: &isFolder), isFolder.boolValue,
            let all = FileManager.default.enumerator(atPath: folder)
        else {
            return (
                [], Diagnostic(file: shown(folder), line: 1, column: 1, message: "the schedules folder can't be read")
            )
        }
        var files: [File] = []
        for case let name as String in all where name.hasSuffix(".yaml") || name.hasSuffix(".yml") {
            guard !name.split(separator: "/").contains(where: { $0.hasPrefix(".") }) else { continue }
            let path = "\(folder)/\(name)"
            guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), !isFolder.boolValue else {
                continue
            }
            files.append(File(path: path, shown: shown(path)))
        }
        return (files.sorted { $0.shown < $1.shown }, nil)
    }
}
