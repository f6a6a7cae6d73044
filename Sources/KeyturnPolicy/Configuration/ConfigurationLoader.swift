import Foundation
package import KeyturnCore
import Yams

/// Reads keyturn.yaml.
package enum ConfigurationLoader {
    /// - Parameters:
    ///   - file: absolute path.
    ///   - environment: `KEYTURN_STATE`, `KEYTURN_SCHEDULES`, `KEYTURN_IDENTITY_FILE`, `KEYTURN_LISTEN`,
    ///     `KEYTURN_CLOCK_TOLERANCE` and `KEYTURN_LIMITS_CONCURRENCY`, `..._PERISSUER`, `..._PERBACKEND`,
    ///     `..._MAXROTATIONSPERHOUR` and `..._STOPAFTERFAILURES` go before the file.
    /// - Returns: the configuration, unless a diagnostic is an error.
    package static func load(
        file: String, environment: [String: String], catalog: SystemCatalog
    ) -> (Configuration?, [Diagnostic]) {
        let (configuration, diagnostics) = read(file: file, environment: environment, catalog: catalog)
        return (diagnostics.contains { $0.severity == .error } ? nil : configuration, diagnostics)
    }

    /// The same, with what could be read in spite of errors, so that the policies' errors are found at the same time.
    package static func read(
        file: String, environment: [String: String], catalog: SystemCatalog
    ) -> (Configuration?, [Diagnostic]) {
        let folder = URL(filePath: file).deletingLastPathComponent().standardizedFileURL.path(percentEncoded: false)
        let trimmed = folder.count > 1 && folder.hasSuffix("/") ? String(folder.dropLast()) : folder
        let reader = DocumentReader(
            file: URL(filePath: file).lastPathComponent, folder: trimmed, environment: environment)
        let data: Data
        do throws(UnreadableFile) { data = try SourceFile.read(file, upTo: YAMLFile.largest + 1) } catch {
            reader.complain(
                at: nil, "the configuration file can't be read: \(error.reason); `keyturn init` writes a first one")
            return (nil, reader.diagnostics)
        }
        let (nodes, problems) = YAMLFile.documents(data, file: reader.file)
        guard problems.isEmpty else { return (nil, problems) }
        guard let node = nodes.first, let root = reader.map(node, "the configuration") else {
            if nodes.isEmpty { reader.complain(at: nil, "the configuration is empty") }
            return (nil, reader.diagnostics.inOrder())
        }
        if nodes.count > 1 { reader.complain(at: nodes[1].mark, "a configuration file holds one document") }
        reader.expect(ConfigurationFields.root.names, in: root, "the configuration")
        var broken: Set<String> = []
        func section(_ name: String, _ types: [(String, ParameterSchema)]) -> [String: ConfiguredSystem] {
            systems(root, name, reader, Dictionary(types) { first, _ in first }, &broken)
        }
        let issuers = section("issuers", catalog.issuers.map { ($0.type, $0.configuration) })
        let backends = section("backends", catalog.backends.map { ($0.type, $0.configuration) })
        let alerts = section("alerts", catalog.alerts.map { ($0.type, $0.configuration) })
        let configuration = Configuration(
            folder: trimmed, statePath: state(root, environment, reader),
            schedulesPath: reader.absolute(
                environment["KEYTURN_SCHEDULES"] ?? text(root, "schedules", reader) ?? "schedules"),
            identityPath: identity(root, environment, reader), issuers: issuers, backends: backends, alerts: alerts,
            limits: limits(root, environment, reader),
            listen: environment["KEYTURN_LISTEN"] ?? text(root, "listen", reader),
            clockTolerance: clockTolerance(root, environment, reader), audit: audit(root, reader),
            driftInterval: drift(root, reader), broken: broken)
        return (configuration, reader.diagnostics.inOrder())
    }

    /// Ten seconds at least: HTTP tells whole seconds, and an answer takes its time.
    private static func clockTolerance(
        _ root: Fields, _ environment: [String: String], _ reader: DocumentReader
    ) -> Double {
        let usual = 300.0
        let fields = root["clock"].flatMap { reader.map($0, "'clock'") }
        if let fields { reader.expect(ConfigurationFields.clock.names, in: fields, "'clock'") }
        let found: (PolicyDuration, Mark?)?
        if let text = environment["KEYTURN_CLOCK_TOLERANCE"] {
            do throws(InvalidDuration) { found = (try PolicyDuration(text), nil) } catch {
                reader.complain(at: nil, "KEYTURN_CLOCK_TOLERANCE: \(error.reason)")
                return usual
            }
        } else if let node = fields?["tolerance"] {
            found = reader.duration(node, "'tolerance' of 'clock'").map { ($0, node.mark) }
        } else {
            return usual
        }
        guard let (tolerance, mark) = found else { return usual }
        guard tolerance.timeInterval >= 10 else {
            reader.complain(at: mark, "'tolerance' of 'clock' must be 10s or more")
            return usual
        }
        return tolerance.timeInterval
    }

    private static func text(_ root: Fields, _ name: String, _ reader: DocumentReader) -> String? {
        root[name].flatMap { reader.string($0, "'\(name)'") }
    }

    private static func state(_ root: Fields, _ environment: [String: String], _ reader: DocumentReader) -> String {
        guard let address = environment["KEYTURN_STATE"] ?? text(root, "state", reader) else {
            return reader.absolute("var/keyturn.db")
        }
        let mark = root["state"]?.mark ?? root.mark
        if address.hasPrefix("sqlite:"), address.count > 7 { return reader.absolute(String(address.dropFirst(7))) }
        if address.hasPrefix("postgresql:") || address.hasPrefix("postgres:") {
            reader.complain(at: mark, "PostgreSQL as state is not available in this version; use sqlite:PATH")
        } else {
            reader.complain(at: mark, "'state' must be sqlite:PATH")
        }
        return ""
    }

    private static func identity(
        _ root: Fields, _ environment: [String: String], _ reader: DocumentReader
    ) -> String? {
        if let path = environment["KEYTURN_IDENTITY_FILE"] { return reader.absolute(path) }
        guard let node = root["identity"] else {
            reader.complain(at: root.mark, "the configuration lacks 'identity': {file: PATH} of an age identity")
            return nil
        }
        guard let fields = reader.map(node, "'identity'") else { return nil }
        reader.expect(ConfigurationFields.identity.names, in: fields, "'identity'")
        guard let file = fields["file"] else {
            reader.complain(at: fields.mark, "'identity' lacks 'file'")
            return nil
        }
        return reader.string(file, "'file' of 'identity'").map(reader.absolute)
    }

    private static func audit(_ root: Fields, _ reader: DocumentReader) -> Configuration.Audit {
        var audit = Configuration.Audit()
        guard let fields = root["audit"].flatMap({ reader.map($0, "'audit'") }) else { return audit }
        reader.expect(ConfigurationFields.audit.names, in: fields, "'audit'")
        if let key = fields["signingKey"].flatMap({ reader.map($0, "'signingKey' of 'audit'") }) {
            reader.expect(ConfigurationFields.signingKey.names, in: key, "'signingKey' of 'audit'")
            if key["file"] == nil { reader.complain(at: key.mark, "'signingKey' of 'audit' lacks 'file'") }
            audit.signingKeyPath = key["file"].flatMap { reader.string($0, "'file' of 'signingKey'") }
                .map(reader.absolute)
        }
        if let node = fields["checkpoints"] {
            audit.checkpointsPath = reader.string(node, "'checkpoints' of 'audit'").map(reader.absolute)
            if fields["signingKey"] == nil {
                reader.complain(at: node.mark, "'checkpoints' of 'audit' needs 'signingKey': {file: PATH}")
            }
        }
        return audit
    }

    private static func systems(
        _ root: Fields, _ section: String, _ reader: DocumentReader, _ types: [String: ParameterSchema],
        _ broken: inout Set<String>
    ) -> [String: ConfiguredSystem] {
        guard let node = root[section] else { return [:] }
        guard let fields = reader.map(node, "'\(section)'") else {
            broken.insert(section)
            return [:]
        }
        var systems: [String: ConfiguredSystem] = [:]
        for entry in fields.entries {
            let what = "\(section) '\(entry.name.prefix(60))'"
            // Until its type is known.
            broken.insert("\(section)/\(entry.name)")
            guard let system = reader.map(entry.value, what) else { continue }
            guard let typeNode = system["type"] else {
                reader.complain(
                    at: system.mark, "\(what) lacks 'type': one of \(types.keys.sorted().joined(separator: ", "))")
                continue
            }
            guard let type = reader.string(typeNode, "'type' of \(what)") else { continue }
            guard let schema = types[type] else {
                let hint = NearestName.hint(for: type, among: Array(types.keys))
                reader.complain(at: typeNode.mark, "unknown type '\(type.prefix(60))' in \(section)\(hint)")
                continue
            }
            broken.remove("\(section)/\(entry.name)")
            systems[entry.name] = ConfiguredSystem(
                name: entry.name, type: type,
                parameters: reader.parameters(system, schema, what, also: ["type"]))
        }
        return systems
    }

    private static func drift(_ root: Fields, _ reader: DocumentReader) -> Double? {
        guard let fields = root["drift"].flatMap({ reader.map($0, "'drift'") }) else { return nil }
        reader.expect(ConfigurationFields.drift.names, in: fields, "'drift'")
        guard let node = fields["every"] else {
            reader.complain(at: fields.mark, "'drift' lacks 'every', such as 1d")
            return nil
        }
        guard let every = reader.duration(node, "'every' of 'drift'") else { return nil }
        guard every.seconds >= 60 else {
            reader.complain(at: node.mark, "'every' of 'drift' must be 1m at least")
            return nil
        }
        return every.timeInterval
    }

    private static func limits(
        _ root: Fields, _ environment: [String: String], _ reader: DocumentReader
    ) -> Configuration.Limits {
        var limits = Configuration.Limits()
        let fields = root["limits"].flatMap { reader.map($0, "'limits'") }
        if let fields {
            reader.expect(ConfigurationFields.limits.names, in: fields, "'limits'")
        }
        func limit(_ name: String, upTo most: Int = 1024) -> Int? {
            if let text = environment["KEYTURN_LIMITS_\(name.uppercased())"] {
                if let number = Int(text), (1...most).contains(number) { return number }
                reader.complain(at: nil, "KEYTURN_LIMITS_\(name.uppercased()) must lie between 1 and \(most)")
            }
            return fields?[name].flatMap { reader.integer($0, "'\(name)' of 'limits'", in: 1...most) }
        }
        limits.concurrency = limit("concurrency") ?? limits.concurrency
        limits.perIssuer = limit("perIssuer") ?? limits.perIssuer
        limits.perBackend = limit("perBackend") ?? limits.perBackend
        limits.maxRotationsPerHour = limit("maxRotationsPerHour", upTo: 100_000)
        limits.stopAfterFailures = limit("stopAfterFailures", upTo: 100_000)
        return limits
    }
}
