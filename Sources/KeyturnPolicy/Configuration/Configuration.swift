package import KeyturnCore

/// keyturn.yaml, after all checks, with absolute paths.
package struct Configuration: Sendable {
    /// The folder of the file.
    package let folder: String
    /// The SQLite database.
    package let statePath: String
    package let schedulesPath: String
    package let identityPath: String?
    package let issuers: [String: ConfiguredSystem]
    package let backends: [String: ConfiguredSystem]
    package let alerts: [String: ConfiguredSystem]
    package let limits: Limits
    package let listen: String?
    /// How far clocks may differ before nothing is retired any more, in seconds.
    package let clockTolerance: Double
    package let audit: Audit
    /// How often the daemon looks whether backends have drifted, in seconds; `nil`: never.
    package let driftInterval: Double?
    /// Sections, and systems as `SECTION/NAME`, whose own entry is wrong: nothing more is said of those that use them.
    let broken: Set<String>

    func isBroken(_ section: String, _ name: String) -> Bool {
        broken.contains(section) || broken.contains("\(section)/\(name)")
    }

    /// What makes the audit trail provable.
    package struct Audit: Sendable, Equatable {
        /// The file of the key that signs checkpoints; unsigned when absent.
        package var signingKeyPath: String?
        /// A further place for checkpoints.
        package var checkpointsPath: String?
    }

    package struct Limits: Sendable, Equatable {
        package var concurrency = 64
        package var perIssuer = 8
        package var perBackend = 32
        /// How many rotations may begin in any hour; `nil` for any number.
        package var maxRotationsPerHour: Int?
        /// After how many failed rotations in a row everything is paused; `nil` for never.
        package var stopAfterFailures: Int?
    }
}

/// An outside system as configured: its type and its parameters by the type's schema.
package struct ConfiguredSystem: Sendable {
    package let name: String
    package let type: String
    package let parameters: Parameters
}
