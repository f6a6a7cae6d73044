import Foundation
package import KeyturnCore
import KeyturnHTTP
package import KeyturnSystem

#if canImport(Glibc)
    import Glibc
#endif

extension SystemServices {
    /// What systems are given in tests: the folder's files, and an environment with a path and nothing else.
    package static func forTests(
        _ folder: ScratchFolder, environment: [String: String] = [:], identityPath: String? = nil,
        time: any Timekeeper = SystemTimekeeper()
    ) throws -> SystemServices {
        // As the command does: a program that hangs up is an error and not our end.
        signal(SIGPIPE, SIG_IGN)
        let all = environment.merging(["PATH": "/usr/local/bin:/usr/bin:/bin"]) { own, _ in own }
        return SystemServices(
            http: try HTTPClient(userAgent: "keyturn-test/1"),
            secrets: SecretReferenceResolver(environment: all, folder: folder.path) { (name) throws(SystemError) in
                throw SystemError(.notFound, "there is no secret '\(name)' in this test")
            }, environment: all, time: time, folder: folder.path, identityPath: identityPath)
    }
}
