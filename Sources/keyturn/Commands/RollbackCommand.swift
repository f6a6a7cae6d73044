import ArgumentParser
import Foundation
import KeyturnCore
import KeyturnStore

struct RollbackCommand: KeyturnCommand {
    static let configuration = CommandConfiguration(
        commandName: "rollback",
        abstract: "Makes the version before the current one current again.",
        discussion: """
            The version that was current last goes back to every backend, after the issuer and the policy's checks have \
            found that it works; the present one then gets the usual grace. A disabled one is enabled first. It is refused \
            when no earlier version is valid any more, when it is compromised, when it expires before another rotation \
            could be done, and while a rotation is past its first promote. One that no consumer has seen is undone, and a \
            quarantine is lifted. The schedule counts from the rollback.

            Exit statuses: 0; 1 it is refused, or is not over yet; 3 the secret is quarantined; 75 another process that \
            is no daemon is working on the secret.

            Example:
              keyturn rollback payments/momento-cache
            """)

    @Argument(help: "The secret.")
    var secret: String

    @OptionGroup var patience: PatienceOption

    @OptionGroup var options: GlobalOptions

    func execute() async throws {
        let patience = try patience.seconds
        let composition = try Composition.load(options)
        let journal = try composition.readJournal()
        let names = try await SecretNames.known([secret], composition, journal)
        for name in names {
            let record = try await journal?.record(of: name) ?? SecretRecord(name: name)
            do throws(RollbackRefusal) {
                if record.rotation?.isRollback != true {
                    _ = try Rollback.target(in: record, under: composition.policy(name), at: Date())
                }
            } catch {
                throw CommandFailure(.failed, "\(name) can't be rolled back: \(error)", advice: error.advice)
            }
        }
        let work = RequestedWork(kind: .rollback, names: names, composition: composition, patience: patience)
        try await work.run().conclude(options, "rolled back")
    }
}
