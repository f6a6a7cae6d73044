import Foundation
import KeyturnCore
import KeyturnStore
import Logging
import ServiceLifecycle

/// Signs the audit trail and says what came of it. A trail that can't be signed stops no rotation.
struct CheckpointKeeper: Sendable {
    let checkpointer: AuditCheckpointer
    let logger: Logger

    /// Signs what is not signed yet.
    func sign() async {
        do throws(JournalError) { tell(try await checkpointer.checkpoint(at: Date())) } catch { complain(error) }
    }

    func signIfDue() async {
        do throws(JournalError) { tell(try await checkpointer.checkpointIfDue(at: Date())) } catch { complain(error) }
    }

    private func tell(_ outcome: AuditCheckpointer.Outcome) {
        switch outcome {
        case .nothingNew: break
        case .signed(let checkpoint):
            logger.debug("the audit trail is signed", metadata: ["entries": "\(checkpoint.entries)"])
        case .notFiled(_, let reason):
            logger.error("the checkpoint could not be added to the checkpoint file", metadata: ["error": "\(reason)"])
        case .refused(let reason):
            logger.error(
                "the audit trail is not signed; `keyturn audit verify` says what is wrong",
                metadata: ["error": "\(reason)"])
        }
    }

    private func complain(_ error: JournalError) {
        logger.error("the audit trail can't be signed", metadata: ["error": "\(error)"])
    }
}

/// Signs the audit trail while the daemon runs.
struct CheckpointService: Service {
    let keeper: CheckpointKeeper?

    /// How often is looked whether enough has come together, in seconds.
    private static let interval = 5.0

    func run() async throws {
        await cancelWhenGracefulShutdown {
            while let keeper {
                do { try await SystemTimekeeper().sleep(for: .seconds(Self.interval)) } catch { return }
                await keeper.signIfDue()
            }
        }
    }
}
