import Age
import Foundation
import KeyturnAlerts
import KeyturnBackends
import KeyturnCore
import KeyturnEngine
import KeyturnHTTP
import KeyturnIssuers
import KeyturnPolicy
import KeyturnStore
import KeyturnSystem
import Logging

/// Builds everything out of the configuration: the one place that knows every module.
struct Composition {
    let configuration: Configuration
    let policies: [Policy]
    let logger: Logger

    static let version = "0.1.0"

    static let catalog = SystemCatalog(
        issuers: IssuerRegistry.descriptions, backends: BackendRegistry.descriptions,
        alerts: AlertRegistry.descriptions, checks: CheckRegistry.descriptions)

    /// Reads configuration and policies.
    ///
    /// - Throws: ``CommandFailure`` after all diagnostics were shown, when one of them is an error.
    static func load(_ options: GlobalOptions) throws(CommandFailure) -> Composition {
        let (composition, diagnostics) = try check(options)
        for diagnostic in diagnostics { Terminal.tell("\(diagnostic)") }
        guard let composition else {
            let count = diagnostics.count { $0.severity == .error }
            throw CommandFailure(
                .badConfiguration, "\(count) error\(count == 1 ? "" : "s") in configuration and policies",
                advice: "mend what is shown above; `keyturn validate` shows it again")
        }
        return composition
    }

    /// The same without a word: for `validate`, and for a daemon that reloads.
    static func check(_ options: GlobalOptions) throws(CommandFailure) -> (Composition?, [Diagnostic]) {
        let path = try options.configPath()
        let (configuration, found) = ConfigurationLoader.read(
            file: path, environment: ProcessInfo.processInfo.environment, catalog: catalog)
        guard let configuration else { return (nil, found) }
        let set = PolicyLoader.load(configuration, catalog: catalog)
        let diagnostics = found + set.diagnostics
        guard !diagnostics.contains(where: { $0.severity == .error }) else { return (nil, diagnostics) }
        return (
            Composition(configuration: configuration, policies: set.policies, logger: options.logger()), diagnostics
        )
    }

    /// The configuration alone, for a switch that has to work while policies, or other parts of it, are wrong.
    static func configuration(_ options: GlobalOptions) throws(CommandFailure) -> Configuration {
        let (configuration, found) = ConfigurationLoader.read(
            file: try options.configPath(), environment: ProcessInfo.processInfo.environment, catalog: catalog)
        if let configuration, !configuration.statePath.isEmpty { return configuration }
        for diagnostic in found { Terminal.tell("\(diagnostic)") }
        throw CommandFailure(.badConfiguration, "the configuration does not say where the state is")
    }

    // MARK: State

    /// The journal for reading; `nil` when there is no state yet.
    func readJournal() throws(JournalError) -> SQLiteJournal? {
        guard try SQLiteJournal.exists(at: configuration.statePath) else { return nil }
        return try SQLiteJournal(path: configuration.statePath, access: .readOnly)
    }

    func writeJournal() throws(JournalError) -> SQLiteJournal { try SQLiteJournal(path: configuration.statePath) }

    func lock() throws(JournalError) -> InstanceLock {
        try InstanceLock.acquire(statePath: configuration.statePath)
    }

    func identities() throws(SystemError) -> [X25519Identity] {
        guard let path = configuration.identityPath else {
            throw SystemError(
                .misconfigured, "keyturn.yaml names no identity", advice: "add `identity: {file: var/identity.txt}`")
        }
        return try PrivateIdentityFile.load(path)
    }

    // MARK: Systems

    /// - Parameters:
    ///   - journal: where `{vault: SECRET}` references are looked up.
    ///   - witnesses: are told what HTTP systems say of the time.
    ///   - observe: is told of every answer of an HTTP system.
    func services(
        _ journal: (any Journal)?, _ sealer: AgeSealer, witnesses: ClockWitnesses = ClockWitnesses(),
        observe: @escaping @Sendable (HTTPRequest, HTTPResponse) -> Void = { _, _ in }
    ) throws(CommandFailure) -> SystemServices {
        let http: HTTPClient
        let time = SystemTimekeeper()
        do throws(HTTPError) {
            http = try HTTPClient(userAgent: "keyturn/\(Self.version)") { request, response in
                observe(request, response)
                guard let date = response.date, let address = try? RequestAddress(request.url) else { return }
                witnesses.hear(address.authority, say: date, at: time.reading().uptime)
            }
        } catch { throw CommandFailure(.failed, "\(error)") }
        let environment = ProcessInfo.processInfo.environment
        let resolver = SecretReferenceResolver(environment: environment, folder: configuration.folder) {
            (name) throws(SystemError) in try await Self.own(name, journal, sealer)
        }
        return SystemServices(
            http: http, secrets: resolver, environment: environment, time: time,
            folder: configuration.folder, identityPath: configuration.identityPath)
    }

    /// The current value of a secret that Keyturn keeps and needs itself.
    private static func own(
        _ name: SecretName, _ journal: (any Journal)?, _ sealer: AgeSealer
    ) async throws(SystemError) -> SecretValue {
        let record: SecretRecord?
        do throws(JournalError) { record = try await journal?.record(of: name) } catch {
            throw SystemError(.local, error.description)
        }
        guard let sealed = record?.current?.sealed else {
            throw SystemError(.misconfigured, "\(name) has no current version to log in with")
        }
        do throws(SealError) {
            guard let material = KeyMaterial(decoding: try sealer.open(sealed)) else {
                throw SealError(reason: "it is not a sealed key")
            }
            return material.value
        } catch { throw SystemError(.local, "\(name) can't be opened: \(error)") }
    }

    func workplace(_ services: SystemServices) throws(SystemError) -> Workplace {
        let (workplace, unmade) = systems(services)
        if let first = unmade.first { throw first.error }
        return workplace
    }

    /// A system that can't be made as it is configured.
    struct Unmade {
        /// Such as `backend 'vault'`.
        let system: String
        let error: SystemError
    }

    /// All systems that can be made, and what is wrong with the others.
    func systems(_ services: SystemServices) -> (Workplace, [Unmade]) {
        var unmade: [Unmade] = []
        func made<System>(
            _ kind: String, _ configured: [String: ConfiguredSystem],
            _ make: (ConfiguredSystem) throws(SystemError) -> System?
        ) -> [String: System] {
            var systems: [String: System] = [:]
            for (name, system) in configured.sorted(by: { $0.key < $1.key }) {
                do throws(SystemError) { systems[name] = try make(system) } catch {
                    unmade.append(Unmade(system: "\(kind) '\(name)'", error: error))
                }
            }
            return systems
        }
        let issuers = made("issuer", configuration.issuers) { (system) throws(SystemError) in
            try IssuerRegistry.all.first { $0.description.type == system.type }?
                .make(system.name, system.parameters, services)
        }
        let backends = made("backend", configuration.backends) { (system) throws(SystemError) in
            try BackendRegistry.all.first { $0.description.type == system.type }?
                .make(system.name, system.parameters, services)
        }
        let sinks = made("alert sink", configuration.alerts) { (system) throws(SystemError) in
            try AlertRegistry.all.first { $0.description.type == system.type }?
                .make(system.name, system.parameters, services)
        }
        let workplace = Workplace(policies: policies, issuers: issuers, backends: backends, sinks: sinks) {
            (check) throws(SystemError) in try CheckRegistry.make(check, services)
        }
        return (workplace, unmade)
    }

    /// The traits of a policy's issuer, without making it.
    func traits(_ policy: Policy?) -> IssuerTraits? {
        let type = policy.flatMap { configuration.issuers[$0.issuer]?.type }
        return type.flatMap { type in Self.catalog.issuers.first { $0.type == type }?.traits }
    }

    func policy(_ secret: SecretName) -> Policy? { policies.first { $0.secret == secret } }

    // MARK: Engine

    struct Running {
        let engine: Engine
        let services: SystemServices
        let checkpoints: CheckpointKeeper?
        /// `nil` beside a process that holds it.
        let lock: InstanceLock?

        /// Signs what happened, lets go of connections and of the state.
        func finish() async {
            await checkpoints?.sign()
            close()
        }

        func close() {
            services.http.shutdown()
            lock?.release()
        }
    }

    /// Whether another process may work on the state at the same time.
    enum StateUse {
        /// Drives rotations: one process does at a time.
        case alone
        /// Changes one record under its lease, whoever drives rotations meanwhile.
        case shared
    }

    /// An engine that only looks: at the state as it is, and at all systems that can be made.
    ///
    /// - Returns: `nil` when there is no state yet.
    func observer() async throws -> Running? {
        guard let journal = try readJournal() else { return nil }
        let sealer = AgeSealer(identities: try identities())
        let services = try services(journal, sealer)
        let engine = try await Engine(
            journal: journal, sealer: sealer, workplace: systems(services).0, settings: settings(inlineWait: 0),
            owner: Self.owner, logger: logger)
        return Running(engine: engine, services: services, checkpoints: nil, lock: nil)
    }

    private func settings(inlineWait: Double) -> EngineSettings {
        var settings = EngineSettings()
        settings.concurrency = configuration.limits.concurrency
        settings.perIssuer = configuration.limits.perIssuer
        settings.perBackend = configuration.limits.perBackend
        settings.maxRotationsPerHour = configuration.limits.maxRotationsPerHour
        settings.stopAfterFailures = configuration.limits.stopAfterFailures
        settings.inlineWait = inlineWait
        settings.driftInterval = configuration.driftInterval
        settings.clockTolerance = configuration.clockTolerance
        return settings
    }

    private static var owner: String {
        "\(ProcessInfo.processInfo.hostName):\(ProcessInfo.processInfo.processIdentifier)"
    }

    func engine(_ use: StateUse, inlineWait: Double = 0) async throws -> Running {
        let sealer = AgeSealer(identities: try identities())
        if LockedMemory.isRefused {
            logger.debug("values may be swapped to disk: RLIMIT_MEMLOCK (LimitMEMLOCK= of a unit) is too low")
        }
        let lock = use == .alone ? try lock() : nil
        let journal = try writeJournal()
        if lock != nil { try await journal.releaseAll() }
        let witnesses = ClockWitnesses()
        let services = try services(journal, sealer, witnesses: witnesses)
        let engine = try await Engine(
            journal: journal, sealer: sealer, workplace: try workplace(services),
            settings: settings(inlineWait: inlineWait), witnesses: witnesses, owner: Self.owner, logger: logger)
        return Running(
            engine: engine, services: services, checkpoints: try await checkpoints(journal), lock: lock)
    }

    // MARK: Audit

    /// The key that signs checkpoints; `nil` when none is configured.
    func auditKey() throws(SystemError) -> AuditSigningKey? {
        try configuration.audit.signingKeyPath.map { (path) throws(SystemError) in try AuditKeyFile.load(path) }
    }

    var checkpointFile: CheckpointFile? { configuration.audit.checkpointsPath.map(CheckpointFile.init) }

    private func checkpoints(_ journal: SQLiteJournal) async throws -> CheckpointKeeper? {
        guard let key = try auditKey() else { return nil }
        let checkpointer = AuditCheckpointer(
            journal: journal, key: key, file: checkpointFile, instance: try await journal.installation().instance,
            now: Date())
        return CheckpointKeeper(checkpointer: checkpointer, logger: logger)
    }
}
