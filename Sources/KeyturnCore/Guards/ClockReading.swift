package import Foundation

/// What a machine's own clocks show at one moment.
package struct ClockReading: Sendable, Codable, Equatable {
    /// The wall clock, UTC.
    package let wall: Date
    /// Seconds since the machine started, suspension included.
    package let uptime: Double
    /// Differs from one start of the machine to the next; `nil` where it can't be told.
    package let boot: String?

    package init(wall: Date, uptime: Double, boot: String?) {
        self.wall = wall
        self.uptime = uptime
        self.boot = boot
    }

    /// Seconds that have passed since `earlier` for certain, whatever became of the wall clock: after a restart of the
    /// machine, no more than it has been up for.
    package func elapsed(since earlier: ClockReading) -> Double {
        let shown = wall.timeIntervalSince(earlier.wall)
        guard let boot, let before = earlier.boot else { return shown }
        return boot == before ? uptime - earlier.uptime : min(uptime, shown)
    }

    /// Seconds by which the wall clock moved on more than the uptime clock did; `nil` when the machine was started anew.
    package func leap(since earlier: ClockReading) -> Double? {
        guard let boot, boot == earlier.boot, uptime >= earlier.uptime else { return nil }
        return wall.timeIntervalSince(earlier.wall) - (uptime - earlier.uptime)
    }
}

/// What an outside system said of the time.
package struct ClockWitness: Sendable, Equatable {
    /// The host that answered.
    package let system: String
    /// The time that it told; HTTP tells whole seconds.
    package let said: Date
    /// ``ClockReading/uptime`` when it was heard.
    package let heardAt: Double

    package init(system: String, said: Date, heardAt: Double) {
        self.system = system
        self.said = said
        self.heardAt = heardAt
    }

    /// By how much its clock is ahead of ours now, in seconds: what passed since it was heard, the uptime clock tells.
    func offset(at reading: ClockReading) -> Double {
        said.timeIntervalSince(reading.wall) + (reading.uptime - heardAt)
    }
}
