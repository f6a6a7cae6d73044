/// Bounds of the engine's work. The defaults suit production; tests shorten them.
package struct EngineSettings: Sendable {
    /// Secrets worked on at the same time.
    package var concurrency = 64
    /// Calls at the same time to one issuer.
    package var perIssuer = 8
    /// Calls at the same time to one backend.
    package var perBackend = 32
    /// How many rotations may begin in any hour, over all processes on the state; `nil` for any number. What a person asks
    /// for is counted and not held back.
    package var maxRotationsPerHour: Int?
    /// After how many failed rotations in a row everything is paused; `nil` for never.
    package var stopAfterFailures: Int?
    /// How long those that are due line up before the first of them gets its place, where rotations are limited, in seconds.
    package var lineUpTime = 1.0
    /// Tries of one step before the secret is quarantined.
    package var maximumAttempts = 20
    /// Tries of a best-effort backend before the rotation goes on without it.
    package var bestEffortAttempts = 5
    /// Keys made anew in a row because the last one was rejected.
    package var maximumReissues = 3
    /// First and largest delay between tries, in seconds.
    package var backoffBase = 2.0
    package var backoffCap = 900.0
    /// The shortest delay that the draw may come to, in seconds: a system that just failed is never asked again at once.
    package var backoffFloor = 0.25
    /// How long a new key is asked about until it works, in seconds.
    package var verifyPatience = 120.0
    /// How long a backend is read back until it shows the new value, in seconds.
    package var readBackPatience = 30.0
    /// The pause between two such questions, in seconds.
    package var pollInterval = 2.0
    /// How long a pass waits itself for the next try of a step, in seconds; later ones are left to the next pass.
    package var inlineWait = 0.0
    /// How long a claim on a secret holds, in seconds; it is renewed with each commit.
    package var lease = 300.0
    /// How long steps in flight may take to finish after a stop was asked for, in seconds.
    package var stopPatience = 7.0
    /// The longest sleep between two looks at the clock and at the index of due times, in seconds: also how soon what
    /// another process asks for is seen.
    package var longestSleep = 2.0
    /// How far clocks may differ before nothing is retired any more, in seconds.
    package var clockTolerance = 300.0
    /// How often the daemon looks whether backends have drifted, in seconds; `nil`: never.
    package var driftInterval: Double?
    /// The pause between two looks at the queue of alerts, in seconds.
    package var alertInterval = 2.0

    package init() {}
}
