import ArgumentParser
import Foundation
import KeyturnCore
import KeyturnEngine
import KeyturnSystem

struct AdoptCommand: KeyturnCommand {
    static let configuration = CommandConfiguration(
        commandName: "adopt",
        abstract: "Takes over a key that was made elsewhere.",
        discussion: """
            The key becomes version 1 and is rotated in its time, not at once. The file holds the key as text, or as JSON: \
            {"apiKey": "...", "validUntil": 1790000000} as consoles hand it out (authToken and value for apiKey; epoch \
            seconds as a number or a string, or RFC 3339), or {"accessKeyId": "...", "secretAccessKey": "..."}. Only its \
            owner may be able to read it.

            Example:
              keyturn adopt payments/momento-cache --from downloaded.json
            """)

    @Argument(help: "The secret; a policy must name it.")
    var secret: String

    @Option(help: "The file that holds the key; - for standard input.")
    var from: String

    @OptionGroup var options: GlobalOptions

    func execute() async throws {
        let composition = try Composition.load(options)
        guard let name = try SecretNames.parse([secret]).first else { return }
        let content =
            from == "-"
            ? SecretValue(FileHandle.standardInput.readDataToEndOfFile())
            : try PrivateFile.read(GlobalOptions.absolute(from))
        let key = try AdoptedKey.parse(content, now: Date())
        let running = try await composition.engine(.shared)
        try await running.engine.adopt(key, as: name, actor: ProcessInfo.processInfo.userName)
        running.finish()
        Terminal.tell("\(name) is kept by Keyturn from now on; `keyturn explain \(name)` says when it rotates")
    }
}
