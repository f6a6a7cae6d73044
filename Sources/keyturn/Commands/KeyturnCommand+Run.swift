import ArgumentParser
import KeyturnCore
import KeyturnEngine

extension KeyturnCommand {
    func run() async throws {
        do { try await execute() } catch let failure as CommandFailure {
            Terminal.complain(failure)
            throw failure.status.code
        } catch let error as JournalError {
            let failure = CommandFailure(error)
            Terminal.complain(failure)
            throw failure.status.code
        } catch let error as SystemError {
            let failure = CommandFailure(error)
            Terminal.complain(failure)
            throw failure.status.code
        } catch let error as AdoptError {
            Terminal.complain(CommandFailure(.failed, error.description))
            throw ExitStatus.failed.code
        }
    }
}
