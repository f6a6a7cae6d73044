import Foundation

#if canImport(Glibc)
    import Glibc
#endif

/// Why a file can't be read, in the system's words.
struct UnreadableFile: Error {
    let reason: String
}

/// Files that people wrote.
enum SourceFile {
    enum Kind {
        case folder
        case linkToFolder
        /// A file, or anything else, or a link that leads nowhere: reading it says what.
        case other
    }

    static func kind(_ path: String) -> Kind {
        var information = stat()
        guard lstat(path, &information) == 0 else { return .other }
        if information.st_mode & S_IFMT == S_IFDIR { return .folder }
        guard stat(path, &information) == 0, information.st_mode & S_IFMT == S_IFDIR else { return .other }
        return .linkToFolder
    }

    /// The content, at most `limit` bytes of it. Pipes and devices are refused, and not waited for.
    static func read(_ path: String, upTo limit: Int) throws(UnreadableFile) -> Data {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw UnreadableFile(reason: String(cString: strerror(errno))) }
        let handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        var information = stat()
        guard fstat(descriptor, &information) == 0, information.st_mode & S_IFMT == S_IFREG else {
            throw UnreadableFile(reason: "it is not a file")
        }
        // It names programs that are run.
        guard information.st_mode & 0o002 == 0 else {
            throw UnreadableFile(reason: "others may write to it; mend it with `chmod o-w \(path)`")
        }
        do { return try handle.read(upToCount: limit) ?? Data() } catch {
            throw UnreadableFile(reason: "it can't be read to its end")
        }
    }

    /// Why a folder can't be read.
    static func reasonAgainstFolder(_ path: String) -> String {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_DIRECTORY)
        guard descriptor >= 0 else { return String(cString: strerror(errno)) }
        close(descriptor)
        return "its entries can't be listed"
    }
}
