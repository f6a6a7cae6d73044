import Foundation
package import KeyturnCore

#if canImport(Glibc)
    import Glibc
#endif

/// Reads a file line by line, whatever its size, in little memory.
package final class LineFile {
    /// A line, and whether it is whole: shorter than the limit, and ended by a line break.
    package struct Line {
        package let number: Int
        package let text: String
        package let isWhole: Bool
    }

    private let handle: FileHandle
    private let limit: Int
    private var buffer: [UInt8] = []
    /// Where the next line begins in the buffer.
    private var position = 0
    private var number = 0
    private var isAtEnd = false

    /// - Parameter limit: the longest line that is given whole, in bytes.
    /// - Throws: `misconfigured`, `forbidden`.
    package init(_ path: String, limit: Int = AuditLine.longest) throws(SystemError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            let code: SystemError.Code = errno == EACCES || errno == EPERM ? .forbidden : .misconfigured
            throw SystemError(code, "\(path) can't be read: \(String(cString: strerror(errno)))")
        }
        handle = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        self.limit = limit
        var information = stat()
        guard fstat(descriptor, &information) == 0, information.st_mode & S_IFMT == S_IFREG else {
            throw SystemError(.misconfigured, "\(path) is not a file")
        }
    }

    /// The next line; `nil` behind the last.
    package func next() throws(SystemError) -> Line? {
        var length = 0
        while true {
            if let end = buffer[(position + length)...].firstIndex(of: 0x0A) {
                defer { position = end + 1 }
                return line(buffer[position..<end], isWhole: true)
            }
            length = buffer.count - position
            if isAtEnd || length > limit {
                guard length > 0 else { return nil }
                defer { position = buffer.count }
                return line(buffer[position...].prefix(limit), isWhole: false)
            }
            try fill()
        }
    }

    private func line(_ bytes: ArraySlice<UInt8>, isWhole: Bool) -> Line {
        number += 1
        return Line(number: number, text: String(decoding: bytes, as: UTF8.self), isWhole: isWhole)
    }

    private func fill() throws(SystemError) {
        buffer.removeFirst(position)
        position = 0
        do {
            guard let more = try handle.read(upToCount: 64 * 1024), !more.isEmpty else {
                isAtEnd = true
                return
            }
            buffer += more
        } catch { throw SystemError(.local, "the file can't be read to its end") }
    }
}
