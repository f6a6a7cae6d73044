import Foundation
import KeyturnYAML
import Yams

/// A file of YAML documents with its diagnostics.
enum YAMLFile {
    /// The largest file, in bytes.
    static let largest = YAMLText.largest

    /// Reads all documents; empty ones are left out.
    static func documents(_ data: Data, file: String) -> (nodes: [Node], diagnostics: [Diagnostic]) {
        do throws(YAMLProblem) { return (try YAMLText.documents(data), []) } catch {
            return ([], [Diagnostic(file: file, line: error.line, column: error.column, message: error.message)])
        }
    }
}
