import Foundation
import Testing

#if canImport(Glibc)
    import Glibc
#endif

/// A folder for a state, which goes away with the test.
struct StoreFolder: ~Copyable {
    let path: String
    var state: String { "\(path)/var/keyturn.db" }

    init() throws {
        path = FileManager.default.temporaryDirectory.appending(path: "keyturn-store-\(UUID().uuidString)")
            .path(percentEncoded: false)
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    @discardableResult
    func write(_ bytes: [UInt8], to name: String, mode: UInt32 = 0o600) throws -> String {
        let file = "\(path)/\(name)"
        try Data(bytes).write(to: URL(filePath: file))
        try #require(chmod(file, mode) == 0)
        return file
    }

    /// The permission bits of a file or folder.
    static func mode(_ path: String) throws -> UInt32 {
        var information = stat()
        try #require(lstat(path, &information) == 0, "\(path) is not there")
        return information.st_mode & 0o7777
    }
}
