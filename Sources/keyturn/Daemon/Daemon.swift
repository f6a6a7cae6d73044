import KeyturnCore
import KeyturnEngine
import KeyturnPolicy
import Logging
import ServiceLifecycle
import UnixSignals

/// The engine as a service that ends in good order and reads its policies again when it is told to.
struct Daemon {
    let composition: Composition
    let options: GlobalOptions

    func run() async throws {
        let running = try await composition.engine(.alone)
        let group = ServiceGroup(
            configuration: ServiceGroupConfiguration(
                services: [
                    .init(
                        service: EngineService(engine: running.engine),
                        successTerminationBehavior: .gracefullyShutdownGroup),
                    .init(
                        service: ReloadService(running: running, options: options),
                        successTerminationBehavior: .ignore),
                    .init(
                        service: CheckpointService(keeper: running.checkpoints),
                        successTerminationBehavior: .ignore),
                ], gracefulShutdownSignals: [.sigterm, .sigint], cancellationSignals: [], logger: composition.logger))
        composition.logger.notice("started", metadata: ["policies": "\(composition.policies.count)"])
        try await group.run()
        await running.finish()
        composition.logger.notice("stopped")
    }
}

/// Runs the engine; a graceful shutdown asks it to stop.
private struct EngineService: Service {
    let engine: Engine

    func run() async throws {
        try await withGracefulShutdownHandler {
            try await engine.run()
        } onGracefulShutdown: {
            engine.askToStop()
        }
    }
}

/// Reads configuration and policies again at SIGHUP. What is wrong changes nothing, and is told.
private struct ReloadService: Service {
    let running: Composition.Running
    let options: GlobalOptions

    func run() async throws {
        let signals = await UnixSignalsSequence(trapping: .sighup)
        await cancelWhenGracefulShutdown {
            for await _ in signals { await reload() }
        }
    }

    private func reload() async {
        let logger = options.logger()
        do {
            let (composition, diagnostics) = try Composition.check(options)
            for diagnostic in diagnostics { Terminal.tell("\(diagnostic)") }
            guard let composition else {
                let count = diagnostics.count { $0.severity == .error }
                logger.error("reload refused; the old policies stay in force", metadata: ["errors": "\(count)"])
                return try await running.engine.reportRefusedReload("\(count) errors in configuration and policies")
            }
            try await running.engine.reload(try composition.workplace(running.services))
            logger.notice("reloaded", metadata: ["policies": "\(composition.policies.count)"])
        } catch {
            logger.error("reload refused; the old policies stay in force", metadata: ["error": "\(error)"])
            try? await running.engine.reportRefusedReload("configuration or policies can't be read")
        }
    }
}
