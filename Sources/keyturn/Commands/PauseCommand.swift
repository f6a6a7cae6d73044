import ArgumentParser
import Foundation
import KeyturnCore
import KeyturnEngine
import KeyturnStore

struct PauseCommand: KeyturnCommand {
    static let configuration = CommandConfiguration(
        commandName: "pause",
        abstract: "Stops all work on secrets until `resume`.",
        discussion: """
            It works beside a running daemon. A step in flight is finished. Expiry is still watched and told.

            Example:
              keyturn pause payments/momento-cache
            """)

    @Argument(help: "The secrets.")
    var secrets: [String]

    @OptionGroup var options: GlobalOptions

    func execute() async throws {
        let composition = try Composition.load(options)
        let journal = try composition.writeJournal()
        for name in try await SecretNames.known(secrets, composition, journal) {
            try await journal.setPaused(true, of: name, at: Date(), actor: ProcessInfo.processInfo.userName)
            Terminal.tell("\(name) is paused")
        }
    }
}

struct ResumeCommand: KeyturnCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume",
        abstract: "Lifts a pause or a quarantine.",
        discussion: """
            After a quarantine the failed step is tried again with the same key. It works beside a running daemon, which \
            goes on with the secret. It also lets an old key be switched off once more after a failed health check.

            Examples:
              keyturn resume payments/momento-cache
              keyturn resume --clock
            """)

    @Argument(help: "The secrets.")
    var secrets: [String] = []

    @Flag(help: "Accepts this machine's clock, though the state has seen a later time or a leap.")
    var clock = false

    @OptionGroup var options: GlobalOptions

    func validate() throws {
        guard clock || !secrets.isEmpty else { throw ValidationError("name the secrets, or give --clock") }
    }

    func execute() async throws {
        let composition = try Composition.load(options)
        let journal = try composition.writeJournal()
        let actor = ProcessInfo.processInfo.userName
        if clock {
            let running = try await composition.engine(.shared)
            defer { running.close() }
            try await running.engine.acceptClock(actor: actor)
            Terminal.tell("this machine's clock is accepted")
        }
        guard !secrets.isEmpty else { return }
        let names = try await SecretNames.known(secrets, composition, journal)
        for name in names {
            let record = try await journal.record(of: name)
            let wasUndone = record?.leaving.contains { $0.retirement?.undone != nil } ?? false
            guard record?.quarantine != nil || record?.pausedSince != nil || wasUndone else {
                Terminal.tell("\(name) is neither paused nor quarantined")
                continue
            }
            if record?.quarantine != nil || wasUndone {
                let running = try await composition.engine(.shared)
                defer { running.close() }
                try await running.engine.release(name, actor: actor)
            }
            // Last: nothing is done before all that holds the secret is lifted.
            if record?.pausedSince != nil {
                try await journal.setPaused(false, of: name, at: Date(), actor: actor)
            }
            Terminal.tell("\(name) is resumed")
        }
    }
}
