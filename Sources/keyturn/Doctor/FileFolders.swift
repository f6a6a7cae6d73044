import Foundation
import KeyturnCore
import KeyturnPolicy

/// Folders and files that the configuration names.
enum FileFolders {
    /// The directories of the file vaults.
    static func vaults(_ composition: Composition) -> [String] { directories(composition, ofType: "file-vault") }

    /// The directories of the backends that write plain files.
    static func files(_ composition: Composition) -> [String] { directories(composition, ofType: "file") }

    private static func directories(_ composition: Composition, ofType type: String) -> [String] {
        composition.configuration.backends.values.filter { $0.type == type }.compactMap {
            $0.parameters.string("directory")
        }.sorted()
    }

    /// Files that references to our own credentials lead to.
    static func credentials(_ composition: Composition) -> [String] {
        let configuration = composition.configuration
        let systems = [configuration.issuers, configuration.backends, configuration.alerts].flatMap(\.values)
        return Set(systems.flatMap { files(in: .map($0.parameters)) }).sorted()
    }

    private static func files(in value: ParameterValue) -> [String] {
        switch value {
        case .secret(.file(let path)): [path]
        case .map(let members): members.values.flatMap(files)
        case .list(let items): items.flatMap(files)
        case .secret, .string, .integer, .boolean, .decimal, .null: []
        }
    }

    /// Everything below a folder; links are not followed.
    static func contents(of folder: String) -> [String] {
        guard let all = FileManager.default.enumerator(atPath: folder) else { return [] }
        return all.compactMap { ($0 as? String).map { "\(folder)/\($0)" } }.sorted()
    }
}
