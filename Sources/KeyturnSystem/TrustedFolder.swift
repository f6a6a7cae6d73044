package import KeyturnCore

#if canImport(Glibc)
    import Glibc
#endif

/// Whether nobody but the user, and root, can put another file in a file's place: the mode of a file says nothing when
/// others may rename what stands around it.
package enum TrustedFolder {
    /// Looks at every folder on the way to a file, as it is written and as links lead.
    ///
    /// - Throws: `forbidden`, with the first folder that others may change.
    package static func check(of path: String) throws(SystemError) {
        let folder = AtomicFile.folder(of: path)
        for place in Set([folder, resolved(folder)]).sorted() {
            var next: String? = place
            while let place = next {
                try check(folder: place, path)
                next = place == "/" || place == "." ? nil : AtomicFile.folder(of: place)
            }
        }
    }

    private static func check(folder: String, _ path: String) throws(SystemError) {
        var information = stat()
        // What is not there is not entered either.
        guard stat(folder, &information) == 0 else { return }
        guard information.st_uid == geteuid() || information.st_uid == 0 else {
            throw SystemError(
                .forbidden, "the folder \(folder) belongs to another user, who may put something in place of \(path)",
                advice: "mend it with `chown`, or move the file")
        }
        let isSticky = information.st_mode & S_ISVTX != 0
        // A group that bears its user's number is his own.
        let isOwnGroup = information.st_gid == getegid() && getegid() == geteuid()
        let others: UInt32 = isOwnGroup ? 0o002 : 0o022
        guard isSticky || information.st_mode & others == 0 else {
            throw SystemError(
                .forbidden, "others may write to the folder \(folder), and put something in place of \(path)",
                advice: "mend it with `chmod go-w \(folder)`")
        }
    }

    /// Without links; the path itself where it can't be followed.
    private static func resolved(_ path: String) -> String {
        guard let pointer = realpath(path, nil) else { return path }
        defer { free(pointer) }
        return String(cString: pointer)
    }
}
