import Foundation

#if canImport(Glibc)
    import Glibc
#endif

/// A folder that goes away with the test.
package final class ScratchFolder: Sendable {
    package let path: String

    package init() throws {
        path = FileManager.default.temporaryDirectory.appending(path: "keyturn-test-\(UUID().uuidString)")
            .path(percentEncoded: false)
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    package func path(_ name: String) -> String { "\(path)/\(name)" }

    /// Writes a file with its folders, and gives its path.
    @discardableResult
    package func write(_ text: String, to name: String, mode: UInt32 = 0o600) throws -> String {
        try write(Array(text.utf8), to: name, mode: mode)
    }

    @discardableResult
    package func write(_ bytes: [UInt8], to name: String, mode: UInt32 = 0o600) throws -> String {
        let file = path(name)
        try FileManager.default.createDirectory(
            at: URL(filePath: file).deletingLastPathComponent(), withIntermediateDirectories: true)
        try Data(bytes).write(to: URL(filePath: file))
        guard chmod(file, mode) == 0 else { throw CocoaError(.fileWriteUnknown) }
        return file
    }

    /// The content as text; `nil` when there is no such file.
    package func read(_ name: String) -> String? { try? String(contentsOfFile: path(name), encoding: .utf8) }

    /// The content as it lies there, with a byte order mark where it has one; `nil` when there is no such file.
    package func bytes(_ name: String) -> [UInt8]? {
        FileManager.default.contents(atPath: path(name)).map { Array($0) }
    }

    /// The permission bits of a file, a folder, or a link itself.
    package func mode(_ name: String) -> UInt32? {
        var information = stat()
        return lstat(path(name), &information) == 0 ? information.st_mode & 0o7777 : nil
    }

    package func isLink(_ name: String) -> Bool {
        var information = stat()
        return lstat(path(name), &information) == 0 && information.st_mode & S_IFMT == S_IFLNK
    }

    /// All names below it, sorted, hidden ones too.
    package var names: [String] {
        FileManager.default.enumerator(atPath: path)?.compactMap { $0 as? String }.sorted() ?? []
    }
}
