import Foundation

#if canImport(Glibc)
    import Glibc
#endif

/// Room on the file system that holds a path.
enum FreeSpace {
    /// Bytes that are free for us; `nil` when nobody tells.
    static func around(_ path: String) -> Int64? {
        var nearest = path
        while access(nearest, F_OK) != 0, nearest.count > 1 {
            nearest = URL(filePath: nearest).deletingLastPathComponent().standardizedFileURL.path(percentEncoded: false)
        }
        var information = statvfs()
        guard statvfs(nearest, &information) == 0 else { return nil }
        return Int64(information.f_bavail) * Int64(information.f_frsize)
    }
}
