import ArgumentParser
import KeyturnCore

struct RotateCommand: KeyturnCommand {
    static let configuration = CommandConfiguration(
        commandName: "rotate",
        abstract: "Rotates secrets now.",
        discussion: """
            The schedule goes on from the new promotion. While a daemon runs on this state, the daemon is asked to do it, \
            and its work is watched for as long as --wait says.

            With --compromised every version that still works is never current again and is revoked as soon as every \
            backend has the new one, or before it is made where the policy says `onCompromise: revoke-first`. Secrets are \
            worked on in the order that `after` gives. At the end stands what still holds or accepts the old keys. A \
            pause holds this back too.

            Exit statuses: 0; 1 a rotation failed or is not over yet, or a compromised key still works; 3 a secret is \
            quarantined; 75 another process that is no daemon is working on the secret.

            Examples:
              keyturn rotate payments/momento-cache
              keyturn rotate payments/momento-cache payments/ledger-api --compromised
            """)

    @Argument(help: "The secrets.")
    var secrets: [String]

    @Flag(help: "The keys are known to others: end them at once.")
    var compromised = false

    @OptionGroup var patience: PatienceOption

    @OptionGroup var options: GlobalOptions

    func execute() async throws {
        let patience = try patience.seconds
        let composition = try Composition.load(options)
        let names = try await SecretNames.known(secrets, composition, try composition.readJournal())
        for name in names {
            guard composition.policy(name) != nil else {
                throw CommandFailure(.usage, "no policy names \(name) any more, so it can't be rotated")
            }
        }
        let work = RequestedWork(
            kind: compromised ? .compromised : .rotation, names: names, composition: composition, patience: patience)
        try await work.run().conclude(options, "rotated")
    }
}
