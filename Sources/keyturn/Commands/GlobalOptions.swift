import ArgumentParser
import Foundation
import Logging

enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
    case table, json

    /// Where a command gives lines, `jsonl` is the same by its usual name.
    init?(argument: String) { self.init(rawValue: argument == "jsonl" ? "json" : argument) }
}

/// The levels of swift-log by name.
enum LogLevel: String, ExpressibleByArgument, CaseIterable {
    case trace, debug, info, notice, warning, error

    var level: Logger.Level { Logger.Level(rawValue: rawValue) ?? .notice }
}

/// What every command takes.
struct GlobalOptions: ParsableArguments {
    @Option(help: "Configuration file (default: $KEYTURN_CONFIG, ./keyturn.yaml, /etc/keyturn/keyturn.yaml).")
    var config: String?

    @Option(help: "Form of the output: table or json.")
    var format: OutputFormat = .table

    @Flag(name: .customLong("no-color"), help: "Print without colours.")
    var noColor = false

    @Option(
        name: .customLong("log-level"),
        help: "What is logged to standard error: trace, debug, info, notice, warning, error (default: notice).")
    var logLevel: LogLevel?

    /// The configuration file that applies, absolute.
    func configPath() throws(CommandFailure) -> String {
        let environment = ProcessInfo.processInfo.environment
        if let named = config ?? environment["KEYTURN_CONFIG"] { return Self.absolute(named) }
        for path in [Self.absolute("keyturn.yaml"), "/etc/keyturn/keyturn.yaml"]
        where FileManager.default.fileExists(atPath: path) {
            return path
        }
        throw CommandFailure(
            .badConfiguration, "there is no keyturn.yaml here and none in /etc/keyturn",
            advice: "name one with --config, or write a first one with `keyturn init`")
    }

    func logger() -> Logger {
        let named = ProcessInfo.processInfo.environment["KEYTURN_LOG_LEVEL"].flatMap(Logger.Level.init(rawValue:))
        let level = logLevel?.level ?? named ?? .notice
        return Logger(label: "keyturn") { _ in LineLogHandler(logLevel: level) }
    }

    var color: Bool { Terminal.wantsColor(noColor) }

    static func absolute(_ path: String) -> String {
        let full = path.hasPrefix("/") ? path : "\(FileManager.default.currentDirectoryPath)/\(path)"
        let clean = URL(filePath: full).standardizedFileURL.path(percentEncoded: false)
        // A folder that is there gets a slash at its end.
        return clean.count > 1 && clean.hasSuffix("/") ? String(clean.dropLast()) : clean
    }
}

/// A command of Keyturn: does its work in `execute` and ends with a documented exit status.
protocol KeyturnCommand: AsyncParsableCommand {
    var options: GlobalOptions { get }
    func execute() async throws
}
