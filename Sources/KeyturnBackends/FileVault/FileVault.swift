import Age
import Foundation
package import KeyturnCore
import KeyturnSystem

#if canImport(Glibc)
    import Glibc
#endif

/// The encrypted file vault: a folder for each secret, an age file for each version, and `current`, a link to one of them.
/// The stock `age` command opens its files without Keyturn.
package struct FileVault: Sendable {
    package let directory: String

    package init(directory: String) { self.directory = directory }

    static let currentName = "current"
    private static let markName = ".keyturn.json"

    /// The folder of a secret. Names are the grammar of ``SecretName``, so that none leads out of the vault.
    func folder(_ path: String) throws(SystemError) -> String {
        do throws(InvalidSecretName) { return "\(directory)/\(try SecretName(path).text)" } catch {
            throw SystemError(.misconfigured, "the path in the file vault is not allowed: \(error.reason)")
        }
    }

    func file(_ path: String, _ version: Int) throws(SystemError) -> String { "\(try folder(path))/\(version).age" }

    /// The version that `current` leads to; `nil` when there is none.
    package func currentVersion(_ path: String) throws(SystemError) -> Int? {
        let link = "\(try folder(path))/\(Self.currentName)"
        guard let destination = try? FileManager.default.destinationOfSymbolicLink(atPath: link) else { return nil }
        return Self.version(destination)
    }

    /// Versions that are stored, ascending.
    package func versions(_ path: String) throws(SystemError) -> [Int] {
        let names = (try? FileManager.default.contentsOfDirectory(atPath: try folder(path))) ?? []
        return names.compactMap(Self.version).sorted()
    }

    /// The encrypted file of a version; `nil` when it is not there.
    package func encrypted(_ path: String, version: Int) throws(SystemError) -> [UInt8]? {
        let file = try file(path, version)
        var information = stat()
        guard lstat(file, &information) == 0 else { return nil }
        return try PrivateFile.read(file, limit: AgeFile.usualLimit).exposedBytes()
    }

    /// Says beside the versions which installation wrote the one that becomes current.
    func mark(_ path: String, _ mark: WriteMark) throws(SystemError) {
        let encoder = JSONEncoder()
        encoder.outputFormatting = .sortedKeys
        guard let bytes = try? encoder.encode(mark) else { throw SystemError(.local, "JSON can't be written") }
        try AtomicFile.write(SecretValue(bytes), to: "\(try folder(path))/\(Self.markName)")
    }

    /// `nil` when there is none, or none that can be read as one.
    func mark(_ path: String) throws(SystemError) -> WriteMark? {
        let file = "\(try folder(path))/\(Self.markName)"
        var information = stat()
        guard lstat(file, &information) == 0 else { return nil }
        let bytes = try PrivateFile.read(file).exposedBytes()
        return try? JSONDecoder().decode(WriteMark.self, from: Data(bytes))
    }

    /// Every secret that the vault holds, by path.
    package func secrets() -> [String] {
        guard let all = FileManager.default.enumerator(atPath: directory) else { return [] }
        var found: Set<String> = []
        for case let name as String in all {
            guard let slash = name.lastIndex(of: "/"), Self.version(String(name[name.index(after: slash)...])) != nil
            else {
                continue
            }
            found.insert(String(name[..<slash]))
        }
        return found.sorted()
    }

    private static func version(_ name: String) -> Int? {
        guard name.hasSuffix(".age"), let number = Int(name.dropLast(4)), number > 0, "\(number).age" == name else {
            return nil
        }
        return number
    }

    /// Runs `body` while no other process writes to the vault.
    func locked<Result>(_ body: () throws(SystemError) -> Result) throws(SystemError) -> Result {
        try AtomicFile.makeFolder(directory)
        let path = "\(directory)/.lock"
        try TrustedFolder.check(of: path)
        let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw AtomicFile.failure("open \(path)") }
        defer { close(descriptor) }
        guard flock(descriptor, LOCK_EX) == 0 else { throw AtomicFile.failure("lock \(path)") }
        return try body()
    }

    /// Removes what a crash in the middle of a write left behind.
    func sweep(_ path: String) throws(SystemError) {
        let folder = try folder(path)
        for name in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        where name.hasPrefix(AtomicFile.temporaryPrefix) {
            try AtomicFile.remove("\(folder)/\(name)")
        }
    }
}
