package import Foundation

/// Who may begin a rotation when only so many may begin in an hour.
package enum RotationPlaces {
    /// The time over which rotations are counted, in seconds.
    package static let span: TimeInterval = 3600

    /// One that wants to begin.
    package struct Request: Sendable {
        package let secret: SecretName
        /// The version that it would make; asking again for the same one takes no second place.
        package let version: Int
        package let at: Date
        /// How many may begin in any hour; `nil` for one that is not held back, and is counted all the same.
        package let limit: Int?
        /// When the present key expires; the earliest goes first.
        package let expiresAt: Date?

        package init(secret: SecretName, version: Int, at: Date, limit: Int?, expiresAt: Date?) {
            self.secret = secret
            self.version = version
            self.at = at
            self.limit = limit
            self.expiresAt = expiresAt
        }
    }

    /// When the one that has `ahead` others before it may begin: `nil` for now.
    ///
    /// - Parameter began: when those of the last hour began, earliest first.
    package static func opening(began: [Date], ahead: Int, limit: Int, at now: Date) -> Date? {
        let free = max(0, limit - began.count)
        guard ahead >= free else { return nil }
        // Each place that is taken, or about to be, opens again an hour later.
        let taken = began + Array(repeating: now, count: free)
        let turn = ahead - free + max(0, began.count - limit)
        return taken[turn % taken.count].addingTimeInterval(span * TimeInterval(1 + turn / taken.count))
    }
}
