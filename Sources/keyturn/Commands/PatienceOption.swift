import ArgumentParser
import KeyturnCore

/// `--wait`, of the commands that make one pass.
struct PatienceOption: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "How long to wait here for the next try of a failed step; 0 leaves it to the next pass.",
            valueName: "duration"))
    var wait: String = "30s"

    var seconds: Double {
        get throws {
            if wait == "0" { return 0 }
            do { return try PolicyDuration(wait).timeInterval } catch {
                throw CommandFailure(.usage, "--wait '\(wait)' is not a duration", advice: "write 0, 30s or 5m")
            }
        }
    }
}
