package import Foundation

/// What the journal knows of the installation as a whole.
package struct InstallationState: Sendable, Codable, Equatable {
    package var clock: ClockMark?
    /// Set when a backend was found ahead of the journal, until a person accepts the state as it is.
    package var restored: Restored?

    package init(clock: ClockMark? = nil, restored: Restored? = nil) {
        self.clock = clock
        self.restored = restored
    }

    package struct Restored: Sendable, Codable, Equatable {
        package let since: Date
        package let secret: SecretName
        package let sentence: String

        package init(since: Date, secret: SecretName, sentence: String) {
            self.since = since
            self.secret = secret
            self.sentence = sentence
        }
    }

    /// Why nothing is retired and nothing rolled back, in one sentence.
    package var freeze: String? {
        restored.map {
            "\($0.sentence): the state was restored from a backup or copied; `keyturn adopt --restored` accepts it"
        }
    }
}
