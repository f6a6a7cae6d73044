import Foundation
import KeyturnCore
import Yams

/// Reads one document into a policy.
struct PolicyReader {
    let reader: DocumentReader
    let configuration: Configuration
    let catalog: SystemCatalog

    /// - Returns: `nil` when too much is wrong for the rules to make sense; diagnostics say what.
    func read(_ node: Node) -> LocatedPolicy? {
        guard let root = reader.map(node, "a policy") else { return nil }
        reader.expect(PolicyFields.root.names, in: root, "a policy")
        var marks = Marks(root)
        let secret = secret(root)
        let issuerName = issuer(root)
        let type = issuerName.flatMap { configuration.issuers[$0]?.type }
        let description = type.flatMap { type in catalog.issuers.first { $0.type == type } }
        let issue = issue(root, description, issuerName, &marks)
        let allowsNoExpiry = root["allowNoExpiry"].flatMap { reader.boolean($0, "'allowNoExpiry'") } ?? false
        let lifetime = lifetime(root)
        let rotation = rotation(root, lifetime: lifetime?.value, &marks)
        let backends = backends(root, secret, description, &marks)
        let checks = checks(root)
        let retirement = retirement(root, &marks)
        let after = secrets(root, "after")
        let alerts = alerts(root)
        let words = root["description"].flatMap { reader.string($0, "'description'") }
        let owner = root["owner"].flatMap { reader.string($0, "'owner'") }
        let grace =
            root["grace"].map { reader.duration($0, "'grace'") }
            ?? usualGrace(lifetime?.value, rotation?.renewBefore, issuerName)
        guard let secret, let issuerName, let lifetime, let rotation, let grace, let backends else { return nil }
        let digests = PolicyDigest(
            issuer: issuerName, issue: issue, lifetime: lifetime.value, rotation: rotation, grace: grace,
            backends: backends, checks: checks, retirement: retirement, after: after)
        let policy = Policy(
            secret: secret, description: words, owner: owner, issuer: issuerName, issue: issue,
            lifetime: lifetime.value, rotation: rotation, grace: grace, backends: backends, checks: checks,
            retirement: retirement, after: after, alerts: alerts,
            origin: PolicyOrigin(
                file: reader.file, line: root.mark?.line ?? 1, writtenAt: marks.all.mapValues(\.line),
                digest: digests.whole, issueDigest: digests.issue, scheduleDigest: digests.schedule))
        var all = marks.all
        all[""] = root.mark
        return LocatedPolicy(policy: policy, file: reader.file, marks: all, allowsNoExpiry: allowsNoExpiry)
    }

    /// Places of fields by dotted name.
    private struct Marks {
        var all: [String: Mark] = [:]

        init(_ root: Fields) { add(root, under: "") }

        mutating func add(_ fields: Fields, under prefix: String) {
            for entry in fields.entries { all[prefix + entry.name] = entry.value.mark ?? entry.key }
        }
    }

    private func secret(_ root: Fields) -> SecretName? {
        guard let node = root["secret"] else {
            reader.complain(at: root.mark, "a policy lacks 'secret': the name, such as team/service-key")
            return nil
        }
        guard let text = reader.string(node, "'secret'") else { return nil }
        do throws(InvalidSecretName) { return try SecretName(text) } catch {
            reader.complain(at: node.mark, "'secret' is not a name such as team/service-key: \(error.reason)")
            return nil
        }
    }

    private func issuer(_ root: Fields) -> String? {
        guard let node = root["issuer"] else {
            reader.complain(at: root.mark, "a policy lacks 'issuer': a name from keyturn.yaml")
            return nil
        }
        guard let name = reader.string(node, "'issuer'") else { return nil }
        guard configuration.issuers[name] != nil else {
            guard !configuration.isBroken("issuers", name) else { return nil }
            let hint = NearestName.hint(for: name, among: Array(configuration.issuers.keys))
            reader.complain(at: node.mark, "keyturn.yaml has no issuer '\(name.prefix(60))'\(hint)")
            return nil
        }
        return name
    }

    private func issue(
        _ root: Fields, _ description: IssuerDescription?, _ issuer: String?, _ marks: inout Marks
    ) -> Parameters {
        var fields = Fields(entries: [], mark: root.mark)
        if let node = root["issue"] {
            guard let map = reader.map(node, "'issue'") else { return [:] }
            fields = map
            marks.add(map, under: "issue.")
        }
        guard let description, let issuer, let system = configuration.issuers[issuer] else { return [:] }
        let issue = reader.parameters(fields, description.issue, "'issue'")
        let lifetime = root["lifetime"]?.scalar.flatMap { try? PolicyDuration($0.string) }
        for problem in description.check(system.parameters, issue, lifetime?.seconds) {
            let mark = problem.path.first.flatMap { fields[$0]?.mark } ?? root["issue"]?.mark ?? root.mark(of: "issuer")
            reader.complain(at: mark, problem.message, severity: problem.isWarning ? .warning : .error)
        }
        return issue
    }

    private func lifetime(_ root: Fields) -> (value: PolicyDuration?, Void)? {
        guard let node = root["lifetime"] else {
            reader.complain(at: root.mark, "a policy lacks 'lifetime': how long a key is valid, such as 30d, or never")
            return nil
        }
        if node.scalar?.string == "never" { return (nil, ()) }
        return reader.duration(node, "'lifetime'").map { ($0, ()) }
    }

    private func rotation(_ root: Fields, lifetime: PolicyDuration?, _ marks: inout Marks) -> RotationSchedule? {
        guard let node = root["rotate"] else {
            reader.complain(at: root.mark, "a policy lacks 'rotate': {every: 30d} or {cron: \"0 3 * * 1\"}")
            return nil
        }
        guard let fields = reader.map(node, "'rotate'") else { return nil }
        marks.add(fields, under: "rotate.")
        reader.expect(PolicyFields.rotate.names, in: fields, "'rotate'")
        let zone = fields["timezone"].map(timeZone) ?? TimeZone(identifier: "UTC") ?? .gmt
        let renewBefore = fields["renewBefore"].map { reader.duration($0, "'renewBefore'") }
        let jitter = fields["jitter"].flatMap { reader.duration($0, "'jitter'") }
        let window = fields["window"].map { self.window($0) }
        let recurrence = recurrence(fields)
        guard let recurrence, let zone, renewBefore.map({ $0 != nil }) ?? true, window.map({ $0 != nil }) ?? true else {
            return nil
        }
        let third = lifetime.flatMap { PolicyDuration(seconds: max(1, $0.seconds / 3)) }
        return RotationSchedule(
            recurrence: recurrence, timeZone: zone, renewBefore: (renewBefore ?? nil) ?? third, jitter: jitter,
            window: window ?? nil)
    }

    private func recurrence(_ fields: Fields) -> RotationSchedule.Recurrence? {
        switch (fields["every"], fields["cron"]) {
        case (let every?, nil): return reader.duration(every, "'every'").map { .every($0) }
        case (nil, let cron?):
            guard let text = reader.string(cron, "'cron'") else { return nil }
            do throws(InvalidCronExpression) { return .cron(try CronExpression(text)) } catch {
                reader.complain(at: cron.mark, "'cron': \(error.reason)")
                return nil
            }
        case (nil, nil):
            reader.complain(at: fields.mark, "'rotate' needs 'every' or 'cron'")
            return nil
        case (_?, let cron?):
            reader.complain(at: cron.mark, "'rotate' has both 'every' and 'cron'; keep one")
            return nil
        }
    }

    private func timeZone(_ node: Node) -> TimeZone? {
        guard let name = reader.string(node, "'timezone'") else { return nil }
        if let zone = TimeZone(identifier: name), name.contains("/") || name == "UTC" || name == "GMT" { return zone }
        let hint = NearestName.nearest(to: name, among: TimeZone.knownTimeZoneIdentifiers)
        reader.complain(
            at: node.mark,
            "there is no time zone '\(name.prefix(60))'\(hint.map { "; did you mean '\($0)'?" } ?? "; write it as Europe/Oslo or UTC")"
        )
        return nil
    }

    private func window(_ node: Node) -> RotationWindow? {
        guard let fields = reader.map(node, "'window'") else { return nil }
        reader.expect(PolicyFields.window.names, in: fields, "'window'")
        func part<Value>(_ name: String, _ parse: (String) throws -> Value) -> Value? {
            guard let node = fields[name] else {
                reader.complain(at: fields.mark, "'window' lacks '\(name)'")
                return nil
            }
            guard let text = reader.string(node, "'\(name)' of 'window'") else { return nil }
            do { return try parse(text) } catch {
                let reason = (error as? InvalidRotationWindow)?.reason ?? "it is not understood"
                reader.complain(at: node.mark, "'\(name)' of 'window': \(reason)")
                return nil
            }
        }
        let days = fields["days"] == nil ? Weekdays.daily : part("days") { try Weekdays($0) }
        let from = part("from") { try TimeOfDay($0) }
        let to = part("to") { try TimeOfDay($0) }
        var onConflict = RotationWindow.OnConflict.deadline
        if let conflict = fields["onConflict"], let text = reader.string(conflict, "'onConflict'") {
            guard let known = RotationWindow.OnConflict(rawValue: text) else {
                reader.complain(at: conflict.mark, "'onConflict' must be deadline or window")
                return nil
            }
            onConflict = known
        }
        guard let days, let from, let to else { return nil }
        do throws(InvalidRotationWindow) {
            return try RotationWindow(days: days, from: from, to: to, onConflict: onConflict)
        } catch {
            reader.complain(at: fields.mark, "'window': \(error.reason)")
            return nil
        }
    }

    /// A day, or less where that would not fit before the old key expires or the next one must be made.
    private func usualGrace(
        _ lifetime: PolicyDuration?, _ renewBefore: PolicyDuration?, _ issuer: String?
    ) -> PolicyDuration? {
        PolicyDuration(seconds: min(86_400, renewBefore?.seconds ?? 86_400))
    }

    private func checks(_ root: Fields) -> [PolicyCheck] {
        checks(root["verify"], "'verify'", types: ["issuer"] + catalog.checks.map(\.type))
    }

    private func checks(_ node: Node?, _ what: String, types: [String]) -> [PolicyCheck] {
        guard let node, let items = reader.list(node, what) else { return [] }
        return items.compactMap { item in
            guard let fields = reader.map(item, "an entry of \(what)") else { return nil }
            guard let typeNode = fields["type"], let type = reader.string(typeNode, "'type' of \(what)") else {
                if fields["type"] == nil {
                    reader.complain(
                        at: fields.mark, "an entry of \(what) lacks 'type': one of \(types.joined(separator: ", "))")
                }
                return nil
            }
            guard types.contains(type) else {
                let hint = NearestName.hint(for: type, among: types)
                reader.complain(at: typeNode.mark, "unknown check '\(type.prefix(60))' in \(what)\(hint)")
                return nil
            }
            let schema = catalog.checks.first { $0.type == type }?.parameters ?? ParameterSchema()
            return PolicyCheck(
                type: type, parameters: reader.parameters(fields, schema, "check '\(type)'", also: ["type"]))
        }
    }

    private func retirement(_ root: Fields, _ marks: inout Marks) -> RetirementRule {
        guard let node = root["retire"], let fields = reader.map(node, "'retire'") else { return RetirementRule() }
        marks.add(fields, under: "retire.")
        reader.expect(PolicyFields.retire.names, in: fields, "'retire'")
        return RetirementRule(
            whenUnused: fields["whenUnused"].flatMap { reader.duration($0, "'whenUnused'") },
            observe: fields["observe"].flatMap { reader.duration($0, "'observe'") },
            health: checks(fields["health"], "'health'", types: catalog.checks.map(\.type)),
            onCompromise: fields["onCompromise"].flatMap(onCompromise) ?? .revokeLast)
    }

    private func onCompromise(_ node: Node) -> RetirementRule.OnCompromise? {
        guard let text = reader.string(node, "'onCompromise'") else { return nil }
        guard let known = RetirementRule.OnCompromise(rawValue: text) else {
            let words = RetirementRule.OnCompromise.allCases.map(\.rawValue).joined(separator: " or ")
            reader.complain(at: node.mark, "'onCompromise' must be \(words)")
            return nil
        }
        return known
    }

    private func secrets(_ root: Fields, _ name: String) -> [SecretName] {
        guard let node = root[name], let texts = reader.strings(node, "'\(name)'") else { return [] }
        return texts.compactMap { text, mark in
            do throws(InvalidSecretName) { return try SecretName(text) } catch {
                reader.complain(at: mark, "an entry of '\(name)' is not a secret's name: \(error.reason)")
                return nil
            }
        }
    }

    private func alerts(_ root: Fields) -> [String] {
        guard let node = root["alerts"], let texts = reader.strings(node, "'alerts'") else { return [] }
        for (text, mark) in texts
        where configuration.alerts[text] == nil && !configuration.isBroken("alerts", text) {
            let hint = NearestName.hint(for: text, among: Array(configuration.alerts.keys))
            reader.complain(at: mark, "keyturn.yaml has no alert sink '\(text.prefix(60))'\(hint)")
        }
        return texts.map(\.text)
    }
}

extension PolicyReader {
    private func backends(
        _ root: Fields, _ secret: SecretName?, _ issuer: IssuerDescription?, _ marks: inout Marks
    ) -> [PolicyBackend]? {
        guard let node = root["backends"] else {
            reader.complain(at: root.mark, "a policy lacks 'backends': where the key goes")
            return nil
        }
        guard let items = reader.list(node, "'backends'") else { return nil }
        guard !items.isEmpty else {
            reader.complain(at: node.mark, "'backends' needs at least one entry")
            return nil
        }
        var entries: [PolicyBackend] = []
        for (index, item) in items.enumerated() {
            marks.all["backends.\(index)"] = item.mark
            guard let entry = backend(item, secret, issuer) else { continue }
            if entries.contains(where: { $0.name == entry.name }) {
                reader.complain(at: item.mark, "backend '\(entry.name)' is named twice; a policy names a backend once")
            }
            entries.append(entry)
        }
        return entries.isEmpty ? nil : entries
    }

    private func backend(_ node: Node, _ secret: SecretName?, _ issuer: IssuerDescription?) -> PolicyBackend? {
        guard let fields = reader.map(node, "an entry of 'backends'") else { return nil }
        guard let nameNode = fields["name"] else {
            reader.complain(at: fields.mark, "an entry of 'backends' lacks 'name': a backend from keyturn.yaml")
            return nil
        }
        guard let name = reader.string(nameNode, "'name' of 'backends'") else { return nil }
        guard let system = configuration.backends[name],
            let description = catalog.backends.first(where: { $0.type == system.type })
        else {
            guard !configuration.isBroken("backends", name) else { return nil }
            let hint = NearestName.hint(for: name, among: Array(configuration.backends.keys))
            reader.complain(at: nameNode.mark, "keyturn.yaml has no backend '\(name.prefix(60))'\(hint)")
            return nil
        }
        let parameters = reader.parameters(
            fields, description.target, "backend '\(name)'", also: PolicyFields.backend.names)
        let path = fields["path"].map { reader.string($0, "'path' of backend '\(name)'") } ?? secret?.text
        if let path, let reason = description.checkPath(path) {
            reader.complain(at: fields.mark(of: "path"), "'path' of backend '\(name)': \(reason)")
        }
        guard let path else { return nil }
        return PolicyBackend(
            target: BackendTarget(backend: name, path: path, parameters: parameters),
            template: template(fields, name, issuer), required: required(fields, name),
            overwrite: fields["overwrite"].flatMap { reader.boolean($0, "'overwrite'") } ?? false)
    }

    private func required(_ fields: Fields, _ name: String) -> Bool {
        let required = fields["required"].flatMap { reader.boolean($0, "'required' of backend '\(name)'") }
        let bestEffort = fields["bestEffort"].flatMap { reader.boolean($0, "'bestEffort' of backend '\(name)'") }
        if let required, let bestEffort, required == bestEffort {
            reader.complain(
                at: fields.mark(of: "bestEffort"),
                "backend '\(name)' can't be both required and best effort, or neither")
        }
        return required ?? bestEffort.map { !$0 } ?? true
    }

    private func template(_ fields: Fields, _ name: String, _ issuer: IssuerDescription?) -> ValueTemplate? {
        guard let node = fields["template"], let text = reader.string(node, "'template' of backend '\(name)'") else {
            return nil
        }
        do throws(InvalidTemplate) {
            let template = try ValueTemplate(text)
            // A program or an interface of the user's answers with fields of its own.
            let known = [KeyMaterial.valueField] + (issuer?.fields ?? [])
            if let issuer, !["command", "http"].contains(issuer.type) {
                for field in template.fields.subtracting(known).sorted() {
                    let hint = NearestName.hint(for: field, among: known)
                    reader.complain(
                        at: node.mark, "a key of issuer type '\(issuer.type)' has no field '\(field)'\(hint)")
                }
            }
            for caution in template.cautions {
                reader.complain(
                    at: node.mark, "'template' of backend '\(name)': \(caution)", severity: .warning)
            }
            if template.fields.isEmpty {
                reader.complain(
                    at: node.mark, "the template of backend '\(name)' has no placeholder such as {{value}}",
                    severity: .warning)
            }
            return template
        } catch {
            reader.complain(at: node.mark, "'template' of backend '\(name)': \(error.reason)")
            return nil
        }
    }
}
