import ArgumentParser
import Foundation
import KeyturnCore

struct NextCommand: KeyturnCommand {
    static let configuration = CommandConfiguration(
        commandName: "next",
        abstract: "Prints the next times of a cron expression.",
        discussion: """
            One RFC 3339 time a line. It needs no configuration. A fixed time of day that a change of the clock skips \
            comes once, at the next valid minute; one that is repeated comes once. With * as minute or hour, elapsed time \
            counts.

            Examples:
              keyturn next "0 3 * * mon"
              keyturn next "@monthly" --timezone Europe/Oslo --from 2027-01-01T00:00:00Z --count 3
            """)

    @Argument(help: "Five fields, or @daily and its kin.")
    var expression: String

    @Option(help: "The time zone, such as Europe/Oslo.")
    var timezone = "UTC"

    @Option(help: "The moment after which times are wanted, RFC 3339 (default: now).")
    var from: String?

    @Option(help: "How many.")
    var count = 5

    @OptionGroup var options: GlobalOptions

    func execute() async throws {
        let cron: CronExpression
        do throws(InvalidCronExpression) { cron = try CronExpression(expression) } catch {
            throw CommandFailure(.usage, "\(error)")
        }
        guard let zone = TimeZone(identifier: timezone) else {
            throw CommandFailure(.usage, "there is no time zone '\(timezone)'", advice: "write it as Europe/Oslo")
        }
        guard (1...100_000).contains(count) else {
            throw CommandFailure(.usage, "--count is a number from 1 to 100000")
        }
        var date = Date()
        if let from {
            guard let parsed = try? Date(from, strategy: .iso8601) else {
                throw CommandFailure(.usage, "'\(from)' is not RFC 3339", advice: "write it as 2027-01-01T00:00:00Z")
            }
            date = parsed
        }
        var times: [String] = []
        for _ in 0..<count {
            guard let next = cron.next(after: date, in: zone) else { break }
            times.append(TimeText.rfc3339(next, in: zone))
            date = next
        }
        switch options.format {
        case .json: Terminal.print(try JSONText.pretty(["times": times]))
        case .table: for time in times { Terminal.print(time) }
        }
        if times.isEmpty { throw CommandFailure(.failed, "it never comes") }
    }
}
