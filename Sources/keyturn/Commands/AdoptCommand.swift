import ArgumentParser
import Foundation
import KeyturnCore
import KeyturnEngine
import KeyturnSystem

struct AdoptCommand: KeyturnCommand {
    static let configuration = CommandConfiguration(
        commandName: "adopt",
        abstract: "Takes over a key that was made elsewhere, or accepts a state that was restored.",
        discussion: """
            The key becomes version 1 and is rotated in its time, not at once. The file holds the key as text, or as JSON: \
            {"apiKey": "...", "validUntil": 1790000000} as consoles hand it out (authToken and value for apiKey; epoch \
            seconds as a number or a string, or RFC 3339), or {"accessKeyId": "...", "secretAccessKey": "..."}. Where the \
            policy's issuer knows the form in which its console hands out keys, it is that one. Only its owner may be able \
            to read the file.

            --restored accepts a state that is behind its backends, as after the restore of a backup: what they hold is \
            replaced by a fresh key in time, keys that the state does not know are listed by `keyturn orphans list`, and \
            none of them is revoked. No other process may run on this state or on a copy of it.

            Exit statuses: 0; 1 a system could not be asked, and nothing is accepted yet; 75 another process holds the \
            state.

            Examples:
              keyturn adopt payments/momento-cache --from downloaded.json
              keyturn adopt --restored
            """)

    @Argument(help: "The secret; a policy must name it.")
    var secret: String?

    @Option(help: "The file that holds the key; - for standard input.")
    var from: String?

    @Option(name: .customLong("key-id"), help: "What the issuer calls the key, where the file does not say it.")
    var keyID: String?

    @Flag(help: "Accepts the state as it is, though backends are ahead of it.")
    var restored = false

    @OptionGroup var options: GlobalOptions

    func validate() throws {
        guard restored ? secret == nil && from == nil && keyID == nil : secret != nil && from != nil else {
            throw ValidationError("name a secret and the file with its key (--from FILE), or give --restored alone")
        }
    }

    func execute() async throws {
        let composition = try Composition.load(options)
        guard !restored else { return try await acceptRestored(composition) }
        guard let secret, let from, let name = try SecretNames.parse([secret]).first else { return }
        let content =
            from == "-"
            ? SecretValue(FileHandle.standardInput.readDataToEndOfFile())
            : try PrivateFile.read(GlobalOptions.absolute(from))
        let running = try await composition.engine(.shared)
        do {
            let key = try await running.engine.read(content, for: name).named(keyID)
            try await running.engine.adopt(key, as: name, actor: ProcessInfo.processInfo.userName)
        } catch let error as InvalidAdoptedKey {
            running.close()
            throw CommandFailure(.failed, error.reason)
        }
        await running.finish()
        Terminal.tell("\(name) is kept by Keyturn from now on; `keyturn explain \(name)` says when it rotates")
    }

    private func acceptRestored(_ composition: Composition) async throws {
        let running = try await composition.engine(.alone)
        defer { running.close() }
        let report = try await running.engine.acceptRestored(actor: ProcessInfo.processInfo.userName)
        await running.checkpoints?.sign()
        for (secret, error) in report.unseen { Terminal.tell("\(secret): \(error)") }
        guard report.unseen.isEmpty else {
            throw CommandFailure(
                .failed, "the state is not accepted: what the backends hold could not be seen everywhere",
                advice: "mend what is shown above, then try again")
        }
        for secret in report.ahead { Terminal.tell("\(secret) is behind its backends and rotates with the next run") }
        if report.unknownKeys > 0 {
            Terminal.tell("\(report.unknownKeys) unknown keys; `keyturn orphans list` shows them")
        }
        Terminal.tell("the state is accepted as generation \(report.generation)")
    }
}

extension IssuedKey {
    /// The same with another name at the issuer, where one is given.
    fileprivate func named(_ id: String?) -> IssuedKey {
        IssuedKey(material: material, keyID: id ?? keyID, issuedAt: issuedAt, expiresAt: expiresAt)
    }
}
