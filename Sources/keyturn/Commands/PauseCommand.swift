import ArgumentParser
import Foundation
import KeyturnCore
import KeyturnEngine
import KeyturnPolicy
import KeyturnStore

struct PauseCommand: KeyturnCommand {
    static let configuration = CommandConfiguration(
        commandName: "pause",
        abstract: "Stops all work on secrets, on an issuer or on everything, until `resume`.",
        discussion: """
            It works beside a running daemon, outlives restarts, and is seen before the next step of whatever is under \
            way; a step in flight is finished. Nothing is rotated, rolled back or retired until then, not even what is \
            compromised. Expiry is still watched and told. With --issuer and --all it works while policies are wrong, too.

            Examples:
              keyturn pause payments/momento-cache
              keyturn pause --issuer momento-eu --reason "their API answers nonsense"
              keyturn pause --all --reason "restoring the database"
            """)

    @OptionGroup var scope: PauseScope

    @Option(help: "Why, for those who see it; with --issuer or --all.")
    var reason: String?

    @OptionGroup var options: GlobalOptions

    func validate() throws {
        try scope.requireOne()
        if reason != nil, !scope.secrets.isEmpty {
            throw ValidationError("--reason goes with --issuer or --all")
        }
    }

    func execute() async throws {
        let actor = ProcessInfo.processInfo.userName
        guard scope.secrets.isEmpty else {
            let composition = try Composition.load(options)
            let journal = try composition.writeJournal()
            for name in try await SecretNames.known(scope.secrets, composition, journal) {
                try await journal.setPaused(true, of: name, at: Date(), actor: actor)
                Terminal.tell("\(name) is paused")
            }
            return
        }
        let configuration = try Composition.configuration(options)
        let journal = try SQLiteJournal(path: configuration.statePath)
        for scope in try await scope.switches(configuration, journal) {
            try await journal.setSwitch(PauseSwitch(scope: scope, since: Date(), reason: reason, actor: actor))
            Terminal.tell("\(scope.words) is paused")
        }
    }
}

struct ResumeCommand: KeyturnCommand {
    static let configuration = CommandConfiguration(
        commandName: "resume",
        abstract: "Lifts a pause or a quarantine.",
        discussion: """
            After a quarantine the failed step is tried again with the same key. It works beside a running daemon, which \
            goes on with the secret. It also lets an old key be switched off once more after a failed health check. Each \
            pause is lifted as it was set: --all leaves paused issuers and secrets paused. After a stop because of \
            failures, --all begins their count anew.

            Examples:
              keyturn resume payments/momento-cache
              keyturn resume --issuer momento-eu
              keyturn resume --all
              keyturn resume --clock
            """)

    @OptionGroup var scope: PauseScope

    @Flag(help: "Accepts this machine's clock, though the state has seen a later time or a leap.")
    var clock = false

    @OptionGroup var options: GlobalOptions

    func validate() throws {
        guard clock else { return try scope.requireOne() }
        guard scope.isEmpty else { throw ValidationError("--clock stands alone") }
    }

    func execute() async throws {
        let composition = try Composition.load(options)
        let journal = try composition.writeJournal()
        let actor = ProcessInfo.processInfo.userName
        guard scope.secrets.isEmpty else {
            return try await resume(SecretNames.known(scope.secrets, composition, journal), composition, journal, actor)
        }
        let running = try await composition.engine(.shared)
        defer { running.close() }
        if clock {
            try await running.engine.acceptClock(actor: actor)
            Terminal.tell("this machine's clock is accepted")
            return
        }
        for scope in try await scope.switches(composition.configuration, journal) {
            let lifted = try await running.engine.lift(scope, actor: actor)
            Terminal.tell("\(scope.words) is \(lifted == nil ? "not paused" : "resumed")")
        }
        for pause in try await journal.switches() { Terminal.tell(pause.sentence) }
    }

    private func resume(
        _ names: [SecretName], _ composition: Composition, _ journal: SQLiteJournal, _ actor: String
    ) async throws {
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
        for pause in try await journal.switches() { Terminal.tell(pause.sentence) }
    }
}
