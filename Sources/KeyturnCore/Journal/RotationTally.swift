/// How a rotation came out, for the count of those that failed in a row over all secrets.
package enum RotationTally: Sendable {
    case succeeded
    /// It failed for good: its key was refused, or a person is needed.
    case failed(StopRule)
}

/// What happens when too many rotations in a row have failed. It is done in the transaction that counts the last of them,
/// so that a crash can't come in between and one alert goes out, however many fail at once.
package struct StopRule: Sendable {
    /// So many failures in a row.
    package let limit: Int
    /// Set then, unless everything is paused already.
    package let pause: PauseSwitch
    /// Queued with it.
    package let alerts: [QueuedAlert]

    package init(limit: Int, pause: PauseSwitch, alerts: [QueuedAlert]) {
        self.limit = limit
        self.pause = pause
        self.alerts = alerts
    }
}
