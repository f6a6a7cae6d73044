import KeyturnEngine
import UnixSignals

/// Turns SIGTERM and SIGINT into a wish to stop.
enum StopSignals {
    /// Runs `body`; a signal asks the engine to stop, and `body` comes to its end by itself.
    static func watching<Result: Sendable>(
        _ running: Composition.Running, _ body: @escaping @Sendable () async throws -> Result
    ) async throws -> Result {
        let signals = await UnixSignalsSequence(trapping: .sigterm, .sigint)
        return try await withThrowingTaskGroup(of: Result?.self) { group in
            group.addTask { try await body() }
            group.addTask {
                for await _ in signals { running.engine.askToStop() }
                return nil
            }
            while let result = try await group.next() {
                guard let result else { continue }
                group.cancelAll()
                return result
            }
            throw CancellationError()
        }
    }
}
